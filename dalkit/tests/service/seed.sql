-- A few authors and books to look at: `dalkit run --seed`; what is there already stays as it is.
INSERT INTO author (name)
VALUES ('Ursula K. Le Guin'), ('Stanisław Lem'), ('Octavia E. Butler')
ON CONFLICT DO NOTHING;

INSERT INTO book (catalog, title, author_id, published, price)
SELECT catalog, title, author.id, published::date, price::numeric
FROM (VALUES
    ('LG-1', 'A Wizard of Earthsea', 'Ursula K. Le Guin', '1968-11-01', 8.99),
    ('LG-2', 'The Left Hand of Darkness', 'Ursula K. Le Guin', '1969-03-01', 9.50),
    ('LEM-1', 'Solaris', 'Stanisław Lem', '1961-06-01', 7.25),
    ('LEM-2', 'The Cyberiad', 'Stanisław Lem', '1965-01-01', NULL),
    ('BUT-1', 'Kindred', 'Octavia E. Butler', '1979-06-01', 10.00)
) AS example (catalog, title, author, published, price)
JOIN author ON author.name = example.author
ON CONFLICT DO NOTHING;
