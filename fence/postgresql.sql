-- postgresql.sql: a fence for tables of a PostgreSQL database (12 or newer).
--
--     psql -v ON_ERROR_STOP=1 -f postgresql.sql DATABASE          as a role that may create a schema
--     SELECT baton.guard('orders', 'db-writer');                  as the owner of the table
--
-- A table that is guarded takes a change (INSERT, UPDATE, DELETE, TRUNCATE) only from a session that has a term of the
-- election, and none older than the newest that the database has seen:
--
--     baton run --fence pg db-writer -- ./writer      gives each connection that ./writer makes by libpq its term
--
-- Programs that know their term call baton.fence('db-writer', term) in the transaction that writes; that works without
-- a guard, too. Readers are not affected. To apply this file again changes nothing; it takes an older version to this
-- one.
--
-- A guard is for the table and all below it: its partitions, and what inherits from it. A trigger of a statement is
-- fired for the table that the statement names, and only for that; so each of these tables has one, and where rows may
-- get in by the name of another one (a partition's, by the table above it) there is a trigger of each row, too.
--
-- Who may: a term that is too high shuts the leader out, so only a change of a guarded table brings one, and whoever
-- was given the right: GRANT EXECUTE ON FUNCTION baton.fence(text), baton.fence(text, bigint) TO ... for programs that
-- call it, ON FUNCTION baton.check_change() for roles that guard tables, or make partitions of such ones. Where a term
-- was brought that is too high, or an election begins again from below: SELECT baton.reset('db-writer').
--
-- How it is safe: each change looks at the newest term with a lock that lasts until the end of its transaction. Who
-- brings a newer term waits for all transactions that were let through with the older one, and whoever comes after it
-- sees the newer one. Under READ COMMITTED that is an advisory lock, and each look sees what is committed by then.
-- Under REPEATABLE READ and SERIALIZABLE, where an old snapshot would not show a newer term, it is a lock on the row:
-- PostgreSQL itself refuses it to a transaction whose snapshot is older than the row. So in the order in which
-- transactions commit, terms only grow.
--
-- SQLSTATEs: BT001 the term is over; BT002 the session has no term; BT003 its term is not a number from 1 to 2^53 - 1;
-- BT004 its term is of another election (the setting baton.election); BT005 the table belongs to one that is guarded.

BEGIN;

CREATE SCHEMA IF NOT EXISTS baton;

DO $$ BEGIN
    PERFORM set_config('baton.was', '', true);
    IF to_regproc('baton.version') IS NOT NULL THEN
        PERFORM set_config('baton.was', baton.version()::text, true);
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS baton.terms (
    election text PRIMARY KEY CHECK (election <> ''),
    term bigint NOT NULL CHECK (term > 0),
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE baton.terms IS 'the newest term that was seen of each election; see baton.fence';

-- A number that grows whenever a term changes, so that who has looked need not look again until then. It is no part of
-- a transaction: whoever changes a term holds the election's lock from before that until its end, so nobody who has the
-- lock, too, takes the new number for the old state.
CREATE SEQUENCE IF NOT EXISTS baton.changes;
DO $$ BEGIN PERFORM nextval('baton.changes'); END $$;

CREATE OR REPLACE FUNCTION baton.term_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM nextval('baton.changes');
    RETURN NULL;
END $$;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'baton.terms'::regclass AND tgname = 'baton_changed') THEN
        CREATE TRIGGER baton_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON baton.terms
        FOR EACH STATEMENT EXECUTE FUNCTION baton.term_changed();
        ALTER TABLE baton.terms ENABLE ALWAYS TRIGGER baton_changed;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION baton.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 2';

-- Refuse a term that is over; remember one that is new. Held until the end of the transaction. (Who has the newest term
-- shares a lock; who is going to bring a newer one must not hold it, or two of them would wait for each other.)
CREATE OR REPLACE FUNCTION baton.fence(of_election text, with_term bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fresh boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
    seen bigint;
BEGIN
    IF with_term IS NULL OR with_term < 1 OR with_term > 9007199254740991 THEN
        RAISE EXCEPTION 'baton: % is no term of the election %', coalesce(with_term::text, 'NULL'), of_election
            USING ERRCODE = 'BT003';
    END IF;
    SELECT term INTO seen FROM baton.terms WHERE election = of_election;
    IF seen = with_term AND fresh THEN
        PERFORM pg_advisory_xact_lock_shared(1650553967, hashtext(of_election)); -- "bato"
        SELECT term INTO seen FROM baton.terms WHERE election = of_election;
    ELSIF seen = with_term THEN
        PERFORM FROM baton.terms WHERE election = of_election FOR SHARE;
    ELSIF seen IS NULL OR seen < with_term THEN
        PERFORM pg_advisory_xact_lock(1650553967, hashtext(of_election));
        INSERT INTO baton.terms AS known (election, term) VALUES (of_election, with_term)
        ON CONFLICT (election) DO UPDATE SET term = excluded.term, since = now() WHERE known.term < excluded.term;
        SELECT term INTO seen FROM baton.terms WHERE election = of_election FOR SHARE;
    END IF;
    IF seen > with_term THEN
        RAISE EXCEPTION 'baton: term % of the election % is over: a writer of term % was here', with_term, of_election,
            seen USING ERRCODE = 'BT001', HINT = 'This instance does not lead any more: it must stop writing.';
    END IF;
END $$;

-- The same with the term of the session: the setting baton.term, and whose it is: baton.election, where that is set.
CREATE OR REPLACE FUNCTION baton.fence(of_election text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    setting text := nullif(current_setting('baton.term', true), '');
    theirs text := nullif(current_setting('baton.election', true), '');
BEGIN
    IF setting IS NULL THEN
        RAISE EXCEPTION 'baton: this session has no term of the election %', of_election
            USING ERRCODE = 'BT002', HINT = 'Start its program with: baton run --fence pg ' || of_election;
    END IF;
    IF setting !~ '^[0-9]{1,16}$' THEN
        RAISE EXCEPTION 'baton: the setting baton.term is %, which is no term', quote_literal(setting)
            USING ERRCODE = 'BT003';
    END IF;
    IF theirs <> of_election THEN
        RAISE EXCEPTION 'baton: the term of this session is of the election %, not of %', theirs, of_election
            USING ERRCODE = 'BT004';
    END IF;
    PERFORM baton.fence(of_election, setting::bigint);
END $$;

-- What a trigger calls. It has its owner's rights, so that who may change the table needs no others; all names in it
-- are whole ones, for the writer's search_path counts here (to set another one costs as much as all the rest). Quick is
-- what is usual: in a transaction that was let through there is nothing to look at, for it keeps others out until its
-- end (baton.held is undone with a savepoint, as the lock is); and a session that has passed with this term needs only
-- to look whether it is the newest still, which it is while no term has changed (baton.seen).
CREATE OR REPLACE FUNCTION baton.check_change() RETURNS trigger LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    mine pg_catalog.text := pg_catalog.concat(TG_ARGV[0], ' ', pg_catalog.current_setting('baton.term', true), ' ',
                                              pg_catalog.current_setting('baton.election', true));
    may pg_catalog.bool := pg_catalog.current_setting('baton.held', true) OPERATOR(pg_catalog.=) mine;
    locked pg_catalog.text;
    changes pg_catalog.text;
BEGIN
    IF may IS NOT TRUE AND pg_catalog.current_setting('baton.passed', true) OPERATOR(pg_catalog.=) mine AND
       pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed' THEN
        locked := pg_catalog.pg_advisory_xact_lock_shared(1650553967, pg_catalog.hashtext(TG_ARGV[0]));
        changes := pg_catalog.pg_sequence_last_value('baton.changes'::pg_catalog.regclass);
        may := pg_catalog.current_setting('baton.seen', true) OPERATOR(pg_catalog.=) changes;
        IF may IS NOT TRUE THEN
            SELECT term::pg_catalog.text OPERATOR(pg_catalog.=) pg_catalog.current_setting('baton.term') INTO may
            FROM baton.terms WHERE election OPERATOR(pg_catalog.=) TG_ARGV[0];
            IF may THEN
                PERFORM pg_catalog.set_config('baton.seen', changes, false);
            END IF;
        END IF;
    END IF;
    IF may IS NOT TRUE THEN
        PERFORM baton.fence(TG_ARGV[0]);
        PERFORM pg_catalog.set_config('baton.passed', mine, false), pg_catalog.set_config('baton.seen', '', false);
    END IF;
    IF TG_LEVEL OPERATOR(pg_catalog.=) 'STATEMENT' THEN
        RETURN NULL;
    END IF;
    IF may IS NOT TRUE OR
       COALESCE(pg_catalog.current_setting('baton.held', true), '') OPERATOR(pg_catalog.<>) mine THEN
        PERFORM pg_catalog.set_config('baton.held', mine, true);
    END IF;
    IF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;

-- Forget the terms of an election: the next one counts, whatever it is. Waits for who was let through with an older
-- one. For a term that was brought by mistake, or an election whose state was lost, so that it counts from below again.
-- No leader of before may be left: it would bring its term back.
CREATE OR REPLACE FUNCTION baton.reset(of_election text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1650553967, hashtext(of_election));
    DELETE FROM baton.terms WHERE election = of_election;
    RETURN FOUND;
END $$;

-- A table and all below it: its partitions, and what inherits from it.
CREATE OR REPLACE FUNCTION baton.below(of_table regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE tree(member) AS (
        SELECT of_table UNION SELECT inhrelid::regclass FROM pg_inherits JOIN tree ON inhparent = member
    ) SELECT member FROM tree
$$;

-- May rows get into these tables by the name of one above them?
CREATE OR REPLACE FUNCTION baton.is_reached_from_above(of_table regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid IN (SELECT baton.below(of_table))
                   AND inhparent NOT IN (SELECT baton.below(of_table)))
$$;

-- Guard a table: from now on it takes changes of the election's leader only. Again, with another election, changes it.
CREATE OR REPLACE FUNCTION baton.guard(of_table regclass, by_election text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parted boolean := (SELECT relkind = 'p' FROM pg_class WHERE oid = of_table);
    above boolean := baton.is_reached_from_above(of_table);
    member record;
BEGIN
    IF by_election IS NULL OR by_election !~ '^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$' THEN
        RAISE EXCEPTION 'baton: % is no name of an election', quote_nullable(by_election) USING ERRCODE = 'BT003';
    END IF;
    PERFORM baton.unguard(of_table);
    FOR member IN SELECT m AS name, relkind = 'f' AS is_foreign FROM baton.below(of_table) AS m
                  JOIN pg_class ON oid = m LOOP
        EXECUTE format('CREATE TRIGGER baton_guard BEFORE INSERT OR UPDATE OR DELETE %s ON %s FOR EACH STATEMENT '
                       'EXECUTE FUNCTION baton.check_change(%L)',
                       CASE WHEN NOT member.is_foreign THEN 'OR TRUNCATE' END, member.name, by_election);
        -- One on a table with partitions is theirs, too, also of those that come later.
        IF (parted AND member.name = of_table) OR (NOT parted AND above) THEN
            EXECUTE format('CREATE TRIGGER baton_guard_row BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
                           'EXECUTE FUNCTION baton.check_change(%L)', member.name, by_election);
        END IF;
    END LOOP;
    -- Also for a session that applies changes of a replica.
    FOR member IN SELECT m AS name, tgname FROM baton.below(of_table) AS m JOIN pg_trigger ON tgrelid = m
                  WHERE tgname IN ('baton_guard', 'baton_guard_row') LOOP
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', member.name, member.tgname);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION baton.unguard(of_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    above regclass := (SELECT inhparent FROM pg_inherits JOIN pg_trigger ON tgrelid = inhparent
                       WHERE inhrelid = of_table AND tgname = 'baton_guard' LIMIT 1);
    member regclass;
    name text;
BEGIN
    IF above IS NOT NULL THEN
        RAISE EXCEPTION 'baton: the table % belongs to %, which is guarded as a whole', of_table, above
            USING ERRCODE = 'BT005';
    END IF;
    -- The table itself is first: with its trigger go those that its partitions have of it.
    FOR member, name IN SELECT m, n FROM baton.below(of_table) AS m,
                        (VALUES ('baton_guard'), ('baton_guard_row')) AS v(n) ORDER BY m <> of_table LOOP
        IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = member AND tgname = name) THEN
            EXECUTE format('DROP TRIGGER %I ON %s', name, member);
        END IF;
    END LOOP;
END $$;

-- What keeps the guard of a table from being whole: tables that have come to it, or that it was put below, since. To
-- guard it again makes it whole.
CREATE OR REPLACE FUNCTION baton.holes(of_table regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT m FROM baton.below(of_table) AS m JOIN pg_class ON oid = m
    WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = m AND tgname = 'baton_guard' AND tgenabled = 'A')
    OR (baton.is_reached_from_above(of_table) AND relkind <> 'p' AND NOT EXISTS
        (SELECT FROM pg_trigger WHERE tgrelid = m AND tgname = 'baton_guard_row' AND tgenabled = 'A'))
    ORDER BY m::text
$$;

-- What is guarded, by which election, and the newest term that was seen of it.
CREATE OR REPLACE VIEW baton.status AS
SELECT tgrelid::regclass AS guarded, convert_from(substring(tgargs FROM 1 FOR length(tgargs) - 1), 'UTF8') AS election,
       term, since
FROM pg_trigger
LEFT JOIN baton.terms ON election = convert_from(substring(tgargs FROM 1 FOR length(tgargs) - 1), 'UTF8')
WHERE tgname = 'baton_guard' AND NOT tgisinternal;

GRANT USAGE ON SCHEMA baton TO PUBLIC;
GRANT SELECT ON baton.terms, baton.status TO PUBLIC;
REVOKE EXECUTE ON FUNCTION baton.fence(text), baton.fence(text, bigint), baton.check_change(), baton.reset(text)
FROM PUBLIC;

-- A guard of version 1 was of one table, and of its statements only.
DO $$ BEGIN
    IF current_setting('baton.was') = '1' THEN
        PERFORM baton.guard(guarded, election) FROM baton.status WHERE NOT EXISTS
            (SELECT FROM pg_inherits JOIN pg_trigger ON tgrelid = inhparent
             WHERE inhrelid = guarded AND tgname = 'baton_guard');
    END IF;
END $$;

COMMIT;
