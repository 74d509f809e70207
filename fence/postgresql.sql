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
-- Programs that know their term call baton.fence('db-writer', term) in the transaction that writes; that works without a
-- guard, too. Readers are not affected. To apply this file again changes nothing; it takes an older version to this one.
--
-- How it is safe: each change looks at the newest term with a lock that lasts until the end of its transaction. Who brings
-- a newer term waits for all transactions that were let through with the older one, and whoever comes after it sees the
-- newer one. Under READ COMMITTED that is an advisory lock, and each look sees what is committed by then. Under
-- REPEATABLE READ and SERIALIZABLE, where an old snapshot would not show a newer term, it is a lock on the row: PostgreSQL
-- itself refuses it to a transaction whose snapshot is older than the row. So in the order in which transactions commit,
-- terms only grow.
--
-- SQLSTATEs: BT001 the term is over; BT002 the session has no term; BT003 its term is not a number from 1 to 2^53 - 1.

BEGIN;

CREATE SCHEMA IF NOT EXISTS baton;

CREATE TABLE IF NOT EXISTS baton.terms (
    election text PRIMARY KEY CHECK (election <> ''),
    term bigint NOT NULL CHECK (term > 0),
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE baton.terms IS 'the newest term that was seen of each election; see baton.fence';

CREATE OR REPLACE FUNCTION baton.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';

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

-- The same with the term of the session: the setting baton.term.
CREATE OR REPLACE FUNCTION baton.fence(of_election text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    setting text := nullif(current_setting('baton.term', true), '');
BEGIN
    IF setting IS NULL THEN
        RAISE EXCEPTION 'baton: this session has no term of the election %', of_election
            USING ERRCODE = 'BT002', HINT = 'Start its program with: baton run --fence pg ' || of_election;
    END IF;
    IF setting !~ '^[0-9]{1,16}$' THEN
        RAISE EXCEPTION 'baton: the setting baton.term is %, which is no term', quote_literal(setting)
            USING ERRCODE = 'BT003';
    END IF;
    PERFORM baton.fence(of_election, setting::bigint);
END $$;

-- A session that has passed with this term needs only to look whether it is the newest still: what is usual is quick.
-- (It has the rights of who writes: anybody may read the terms.)
CREATE OR REPLACE FUNCTION baton.check_change() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    mine text := current_setting('baton.term', true);
    seen bigint;
    locked text;
BEGIN
    IF current_setting('baton.passed', true) = TG_ARGV[0] || ' ' || mine THEN
        IF current_setting('transaction_isolation') = 'read committed' THEN
            locked := pg_advisory_xact_lock_shared(1650553967, hashtext(TG_ARGV[0]));
            SELECT term INTO seen FROM baton.terms WHERE election = TG_ARGV[0];
            IF seen::text = mine THEN
                RETURN NULL;
            END IF;
        END IF;
    END IF;
    PERFORM baton.fence(TG_ARGV[0]);
    PERFORM set_config('baton.passed', TG_ARGV[0] || ' ' || mine, false);
    RETURN NULL;
END $$;

-- Guard a table: from now on it takes changes of the election's leader only. Again, with another election, changes it.
CREATE OR REPLACE FUNCTION baton.guard(of_table regclass, by_election text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF by_election IS NULL OR by_election !~ '^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$' THEN
        RAISE EXCEPTION 'baton: % is no name of an election', quote_nullable(by_election) USING ERRCODE = 'BT003';
    END IF;
    PERFORM baton.unguard(of_table);
    EXECUTE format('CREATE TRIGGER baton_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
                   'FOR EACH STATEMENT EXECUTE FUNCTION baton.check_change(%L)', of_table, by_election);
    -- Also for a session that applies changes of a replica.
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER baton_guard', of_table);
END $$;

CREATE OR REPLACE FUNCTION baton.unguard(of_table regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = of_table AND tgname = 'baton_guard') THEN
        EXECUTE format('DROP TRIGGER baton_guard ON %s', of_table);
    END IF;
END $$;

-- What is guarded, by which election, and the newest term that was seen of it.
CREATE OR REPLACE VIEW baton.status AS
SELECT tgrelid::regclass AS guarded, convert_from(substring(tgargs FROM 1 FOR length(tgargs) - 1), 'UTF8') AS election,
       term, since
FROM pg_trigger
LEFT JOIN baton.terms ON election = convert_from(substring(tgargs FROM 1 FOR length(tgargs) - 1), 'UTF8')
WHERE tgname = 'baton_guard' AND NOT tgisinternal;

GRANT USAGE ON SCHEMA baton TO PUBLIC;
GRANT SELECT ON baton.terms, baton.status TO PUBLIC;

COMMIT;
