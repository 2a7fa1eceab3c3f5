CREATE TABLE author (id integer PRIMARY KEY, name text NOT NULL, born date);
CREATE TABLE book (
    id integer PRIMARY KEY, title text NOT NULL,
    author_id integer NOT NULL REFERENCES author, editor_id integer REFERENCES author
);
CREATE TABLE profile (
    id uuid PRIMARY KEY, author_id integer NOT NULL UNIQUE REFERENCES author, motto text NOT NULL
);
CREATE TABLE tag (name text PRIMARY KEY);
CREATE TABLE tagging (book_id integer REFERENCES book, tag text REFERENCES tag);
CREATE TABLE node (id integer PRIMARY KEY, parent_id integer REFERENCES node);
CREATE TABLE invoice (year integer, number text, PRIMARY KEY (year, number));
CREATE TABLE line (id bigint PRIMARY KEY, year integer, number text, FOREIGN KEY (year, number) REFERENCES invoice);
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.review (id integer PRIMARY KEY, book_id integer NOT NULL REFERENCES book, stars integer NOT NULL);
CREATE TABLE country (id integer PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE city (id integer PRIMARY KEY, country_code text NOT NULL REFERENCES country (code));
CREATE VIEW long_title AS SELECT id, title FROM book WHERE length(title) > 6;
CREATE TABLE journal (entry integer);
CREATE FUNCTION write_journal(n integer) RETURNS integer LANGUAGE sql AS 'INSERT INTO journal VALUES (n) RETURNING n';
