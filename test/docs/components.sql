CREATE TABLE pairs AS SELECT 'a' AS a, 'b' AS b;
