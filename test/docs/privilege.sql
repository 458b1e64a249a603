CREATE TABLE manager (role name, store bigint);
