-- A few rows to look at: `make run SEED=1`. It may run again: what is there stays.
INSERT INTO author (name)
VALUES ('Ursula K. Le Guin'), ('Stanisław Lem'), ('Octavia E. Butler')
ON CONFLICT DO NOTHING;

INSERT INTO book (catalog, title, author_id, published, price)
SELECT catalog, title, author.id, published, price
FROM (
    VALUES
        ('LG-1', 'A Wizard of Earthsea', 'Ursula K. Le Guin', date '1968-11-01', 8.99),
        ('LG-2', 'The Left Hand of Darkness', 'Ursula K. Le Guin', date '1969-03-01', 9.50),
        ('LEM-1', 'Solaris', 'Stanisław Lem', date '1961-06-01', 7.25),
        ('LEM-2', 'The Cyberiad', 'Stanisław Lem', date '1965-01-01', NULL),
        ('BUT-1', 'Kindred', 'Octavia E. Butler', date '1979-06-01', 10.00)
) AS row (catalog, title, name, published, price)
JOIN author USING (name)
ON CONFLICT DO NOTHING;
