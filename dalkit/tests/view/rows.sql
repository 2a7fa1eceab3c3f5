INSERT INTO author VALUES (1, 'Lem', '1921-09-12'), (2, 'Ballard', NULL), (3, 'Nobody', NULL);
INSERT INTO book VALUES
    (1, 'Solaris', 1, 2), (2, 'Eden', 1, NULL), (3, 'Fiasco', 1, 2), (4, 'Crash', 2, NULL);
INSERT INTO profile VALUES ('7f6c4a8e-0c1d-4b7e-9a51-0d7a5f3f2b10', 1, 'sapienti sat');
INSERT INTO tag VALUES ('sf'), ('sad');
INSERT INTO tagging VALUES (1, 'sf'), (2, 'sf'), (3, 'sf'), (3, 'sad'), (3, 'sf');
INSERT INTO node VALUES (1, NULL), (2, 1), (3, 1), (4, 2);
INSERT INTO invoice VALUES (2026, 'A'), (2026, 'B');
INSERT INTO line VALUES (10, 2026, 'A'), (11, 2026, 'A'), (12, 2026, NULL);
INSERT INTO elsewhere.review VALUES (1, 1, 5), (2, 1, 4);
INSERT INTO country VALUES (1, 'PL'), (2, 'UK');
INSERT INTO city VALUES (1, 'PL'), (2, 'PL');
