DROP SCHEMA IF EXISTS lab CASCADE;
CREATE SCHEMA lab;
CREATE TYPE lab.mood AS ENUM ('sad', 'happy');
CREATE DOMAIN lab.short AS varchar(5);
CREATE TABLE lab.author (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CONSTRAINT author_name_key UNIQUE,
    born integer,
    country text NOT NULL
);
CREATE TABLE lab.book (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    author_id bigint NOT NULL,
    published date,
    price numeric(10, 2) NOT NULL DEFAULT 0,
    in_print boolean NOT NULL DEFAULT true,
    deleted_at timestamptz
);
CREATE INDEX book_title_id ON lab.book (title, id);
CREATE TABLE lab.odd (
    "order" integer,
    "select" text,
    "Mixed ""Case" integer,
    tags text[],
    feeling lab.mood,
    ratio double precision,
    meta jsonb,
    code varchar(3),
    label lab.short,
    doubled integer GENERATED ALWAYS AS ("order" * 2) STORED,
    live boolean NOT NULL DEFAULT true,
    PRIMARY KEY ("order", "select")
);
CREATE UNIQUE INDEX odd_code ON lab.odd (code);
CREATE UNIQUE INDEX odd_live ON lab.odd ("Mixed ""Case") WHERE live;
CREATE TABLE lab.part (id integer PRIMARY KEY, value text) PARTITION BY RANGE (id);
CREATE TABLE lab.part_1 PARTITION OF lab.part FOR VALUES FROM (0) TO (100);
CREATE UNIQUE INDEX odd_label ON lab.odd (lower(label));
CREATE TABLE lab.heap (a integer CONSTRAINT heap_a UNIQUE DEFERRABLE, b text NOT NULL);
CREATE TABLE lab.edition (
    book_id bigint,
    number integer,
    title text NOT NULL,
    etag uuid NOT NULL DEFAULT gen_random_uuid(),
    updated_at timestamp,
    deleted_at timestamp,
    PRIMARY KEY (book_id, number)
);
CREATE TABLE lab.note (
    name text PRIMARY KEY,
    body text,
    version integer NOT NULL DEFAULT 1
);
CREATE TABLE lab.page (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    body text,
    etag text NOT NULL GENERATED ALWAYS AS ('"' || body || ' %') STORED
);
CREATE VIEW lab.books_by_author AS
    SELECT author.id, author.name, count(book.id) AS number_of_books,
           1 / (0 * author.id) AS explosive
    FROM lab.author LEFT JOIN lab.book ON book.author_id = author.id
    GROUP BY author.id;
