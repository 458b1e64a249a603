# Eight clients name overlapping identifiers while backends are terminated and
# killed: in the end who is who is what the calls that were committed say.  Then
# some also split, undo merges and erase: who is who is what evidence is left.
#
# MCDP_CLIENT_SECONDS: how long the clients work (default 7), and again in the
# second part (default 4); MCDP_CLIENT_SEED: of what they do (default 1).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Patience;
use Time::HiRes qw(time sleep);

my $seconds = $ENV{MCDP_CLIENT_SECONDS} || 7;
my $seed = $ENV{MCDP_CLIENT_SEED} || 1;
my $node = PostgreSQL::Test::Cluster->new('clients');
$node->init;
$node->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off\nrestart_after_crash = on\ndeadlock_timeout = 200ms\nlog_min_messages = warning");
$node->start;

# A call and its row in "said" are one transaction: "said" is what counts.
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION marketing_cdp;
CREATE TABLE said (what text, names text[], message_id text, via text);
CREATE TABLE parted (profile_id bigint);
CREATE FUNCTION pick(n int) RETURNS text LANGUAGE sql IMMUTABLE
RETURN CASE n % 3 WHEN 0 THEN 'user_id:u' WHEN 1 THEN 'anonymous_id:a' ELSE 'email:e' END || n / 3 || CASE n % 3 WHEN 2 THEN '@example.com' ELSE '' END;
CREATE FUNCTION say_identify(names text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE id bigint := cdp.identify(names::cdp.identifier[], at => '2026-01-01');
BEGIN INSERT INTO said VALUES ('identify', names); RETURN id; END $$;
CREATE FUNCTION say_track(names text[], nr int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE id bigint := cdp.track(names::cdp.identifier[], 'view', jsonb_build_object('value', nr), timestamptz '2026-01-01Z' + nr * interval '1 minute', 'm' || nr);
BEGIN INSERT INTO said VALUES ('track', names, 'm' || nr, (SELECT e.via FROM cdp.event e JOIN cdp.event_message m USING (profile_id, event_id) WHERE m.message_id = 'm' || nr)); RETURN id; END $$;
CREATE FUNCTION say_merge(a text, b text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE one bigint := cdp.resolve(a); other bigint := cdp.resolve(b); id bigint;
BEGIN
	IF one IS NULL OR other IS NULL THEN RETURN NULL; END IF;
	id := cdp.merge(one, other);
	INSERT INTO said VALUES ('merge', ARRAY[a, b]); RETURN id;
END $$;
CREATE FUNCTION say_split(name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE id bigint := cdp.split(ARRAY[name]::cdp.identifier[], 'storm');
BEGIN INSERT INTO parted SELECT s.from_profile FROM cdp.identifier_split s WHERE s.to_profile = id; RETURN id; END $$;
CREATE FUNCTION say_import(a int, b int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.import_identities(format('SELECT pick((%s + i * 37) %% 10000), pick((%s + i * 91) %% 10000) FROM generate_series(1, 10) i', a, b), 'import');
	INSERT INTO said SELECT 'import', ARRAY[pick((a + i * 37) % 10000), pick((b + i * 91) % 10000)] FROM generate_series(1, 10) i;
END $$;
-- what is about somebody who is not there any more, or kept apart, is refused
CREATE FUNCTION try(call text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL client_min_messages = error;
	EXECUTE 'SELECT ' || call;
EXCEPTION WHEN undefined_object OR object_not_in_prerequisite_state OR null_value_not_allowed THEN NULL;
	WHEN invalid_parameter_value THEN
		IF sqlerrm !~ '^(these are all identifiers|identifiers belong to different|no identifier is left)' THEN RAISE; END IF;
END $$;
CREATE SEQUENCE message_nr;
CREATE FUNCTION deliver(n int, base int = 0, range int = 3000) RETURNS void LANGUAGE sql AS $$
	INSERT INTO cdp.inbox (payload)
	SELECT jsonb_build_object('type', CASE WHEN nr % 5 = 0 THEN 'identify' ELSE 'track' END, 'messageId', 'i' || nr, 'event', 'cart',
			'userId', 'u' || base + (n + nr * 7) % range, 'timestamp', '2026-02-01T00:00:00Z')
		|| CASE nr % 3 WHEN 0 THEN jsonb_build_object('anonymousId', 'a' || base + (n * 3 + nr * 11) % range) ELSE '{}' END
		|| CASE nr % 7 WHEN 0 THEN jsonb_build_object('traits', jsonb_build_object('age', nr)) ELSE '{}' END
	FROM (SELECT nextval('message_nr') AS nr FROM generate_series(1, 20)) s;
	INSERT INTO said
	SELECT 'inbox', array_remove(ARRAY['user_id:' || (payload ->> 'userId'), 'anonymous_id:' || (payload ->> 'anonymousId')], NULL), payload ->> 'messageId'
	FROM cdp.inbox WHERE payload ->> 'messageId' > '' AND xmin = pg_current_xact_id()::xid;
$$;
SQL

# Track messages are delivered twice and more often; their names are always the same.
my %script = (
	identify => "\\set a random(0, 9999)\n\\set b random(0, 9999)\nSELECT say_identify(ARRAY[pick(:a), pick(:b)]);\n",
	three => "\\set a random(0, 9999)\n\\set b random(0, 9999)\n\\set c random(10000, 30000)\nSELECT say_identify(ARRAY[pick(:a), pick(:b), pick(:c)]);\n",
	track => "\\set n random(1, 3000)\nSELECT say_track(ARRAY[pick(:n * 7 % 10000), pick(:n * 13 % 10000)], :n);\n",
	merge => "\\set a random(0, 9999)\n\\set b random(0, 9999)\nSELECT say_merge(pick(:a), pick(:b));\n",
	import => "\\set a random(0, 9999)\n\\set b random(0, 9999)\nSELECT say_import(:a, :b);\n",
	deliver => "\\set n random(0, 2999)\nSELECT deliver(:n);\n",
	drain => "SELECT cdp.ingest_inbox(100);\n",
	clock => "CALL cdp.run('2026-03-01Z', '100 ms');\n",
);
my %weight = (identify => 8, three => 4, track => 8, merge => 1, import => 1, deliver => 1, drain => 2, clock => 1);
my $dir = PostgreSQL::Test::Utils::tempdir;

# Before that, twelve clients rush at identifiers that nobody has named a moment ago.
append_to_file("$dir/rush.sql", <<'SQL');
\set a random(1, 4)
\set b random(1, 4)
\set c random(1, 4)
SELECT say_identify(ARRAY['user_id:r' || r || '-' || :a, 'email:r' || r || '-' || :b || '@example.com', 'device_id:r' || r || '-' || :c])
FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 100)::bigint AS r) x;
SQL
my ($rushed, $refused) = ('', '');
IPC::Run::run([ 'pgbench', '-n', '-c', '12', '-j', '4', '-T', '3', '-f', "$dir/rush.sql", $node->connstr('postgres') ], '>', \$rushed, '2>', \$refused);
like($rushed, qr/failed transactions: 0 /, "identifiers that are new to everybody: $refused");

srand(20260100 + $seed);
my ($terminated, $crashes, $deadlocks, $round) = (0, 0, 0, 0);

# Eight clients, of whom some are terminated, and in the end one is killed: all the others lose their connection.
sub storm
{
	my ($seconds, $script, $weight) = @_;
	my @files;
	for my $name (sort keys %$script)
	{
		append_to_file("$dir/$name.sql", $script->{$name});
		push @files, '-f', "$dir/$name.sql\@$weight->{$name}";
	}
	my $until = time + $seconds;
	for (my $first = 1; time < $until || $first; $first = 0)
	{
		my ($out, $err) = ('', '');
		$round++;
		my $storm = IPC::Run::start([ 'pgbench', '-n', '-c', '8', '-j', '2', '-T', '30', '--random-seed', $seed * 1000 + $round, @files, $node->connstr('postgres') . ' application_name=storm' ],
			'>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
		Patience::until_true($node, "postgres", "SELECT count(*) >= 8 FROM pg_stat_activity WHERE application_name = 'storm'")
			or BAIL_OUT("no clients: $err");
		for (1 .. 3)
		{
			sleep(0.2 + rand(0.6));
			$terminated += $node->safe_psql('postgres', "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
				WHERE application_name = 'storm' ORDER BY md5(pid::text || $round) LIMIT 1) x");
		}
		my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'storm' AND state = 'active' ORDER BY query_start DESC LIMIT 1");
		$crashes += kill('KILL', $pid) if $pid;
		$storm->finish;
		$deadlocks += () = $err =~ /deadlock detected/g;
		Patience::until_true($node, 'postgres', 'SELECT true');
	}
	$node->safe_psql('postgres', 'SELECT cdp.ingest_inbox()');
	$node->safe_psql('postgres', q{SELECT cdp.tick('2026-03-01Z')});
}
storm($seconds, \%script, \%weight);
storm(1, \%script, \%weight) if $round < 2;
note($node->safe_psql('postgres', 'SELECT what, count(*) FROM said GROUP BY 1 ORDER BY 1'));
note("$terminated backends terminated, $crashes killed in $round rounds");
ok($crashes > 0 && $terminated > 0, 'backends were killed');

# --- the oracle ------------------------------------------------------------------
my %above;
sub root { my $n = shift; $above{$n} //= $n; $n = $above{$n} while $above{$n} ne $n; return $n; }
for my $row (split /\n/, $node->safe_psql('postgres', q{SELECT DISTINCT array_to_string(names, ' ') FROM said}))
{
	my ($first, @others) = split / /, $row;
	$above{ root($_) } = root($first) for ($first, @others);
}
my %members;
push @{ $members{ root($_) } }, $_ for keys %above;
my $expected = join "\n", sort map { join ' ', sort @$_ } values %members;
my $who_is_who = q{SELECT names COLLATE "C" AS names
	FROM (SELECT string_agg(l.identifier::text, ' ' ORDER BY l.identifier::text COLLATE "C") AS names
		  FROM cdp.identifier_link l JOIN cdp.profile p USING (profile_id) GROUP BY p.canonical_id) c ORDER BY 1};
is($node->safe_psql('postgres', $who_is_who), $expected, 'who is who: ' . keys(%members) . ' components');

my %none = (
	'no message is lost' => q{SELECT count(*) FROM said s WHERE what = 'track' AND NOT EXISTS (SELECT FROM event e WHERE e.message_id = s.message_id)},
	'nor one of the inbox' => q{SELECT count(*) FROM said s WHERE what = 'inbox' AND NOT EXISTS (SELECT FROM event_message e WHERE e.message_id = s.message_id)},
	'a message is an event once' => q{SELECT count(*) FROM (SELECT FROM event GROUP BY message_id HAVING count(*) <> 1) x},
	'nobody invented a message' => q{SELECT count(*) FROM event_message e WHERE NOT EXISTS (SELECT FROM said s WHERE s.message_id = e.message_id)},
	'an event belongs to whom it names' => q{SELECT count(*) FROM said s JOIN event e USING (message_id) JOIN profile p USING (profile_id)
		WHERE p.canonical_id <> ALL (SELECT resolve(n::identifier) FROM unnest(s.names) n)},
	'no profile without an identifier' => q{SELECT count(*) FROM profile p WHERE NOT EXISTS (SELECT FROM identifier_link l WHERE l.profile_id = p.profile_id)},
	'canonical ids are roots' => q{SELECT count(*) FROM profile p JOIN profile c ON c.profile_id = p.canonical_id WHERE c.canonical_id <> c.profile_id},
	'merges are recorded' => q{SELECT count(*) FROM profile p WHERE p.canonical_id <> p.profile_id
		AND NOT EXISTS (SELECT FROM profile_merge m WHERE m.merged = p.profile_id AND m.undone_at IS NULL)},
	'the universe is all canonical profiles' => q{SELECT count(*) FROM (SELECT tagged(chr(1) || 'kind:person') <> (SELECT rb_build_agg(profile_id) FROM profile WHERE canonical_id = profile_id) AS wrong) x WHERE wrong},
	'no evidence is missing' => q{SELECT count(*) FROM said s, unnest(names[2:]) o WHERE what <> 'merge' AND o <> names[1]
		AND o::identifier NOT IN (SELECT unnest(ARRAY[e.a, e.b]) FROM identity_edge e)},
	'nothing is rejected' => 'SELECT count(*) FROM rejected',
);
is($node->safe_psql('postgres', 'SET search_path = public, cdp; ' . $none{$_}), '0', $_) for sort keys %none;

# --- with splits, undone merges and erasures ---------------------------------------
# of other people, and few, so that they meet
my $first = $node->safe_psql('postgres', 'SELECT max(profile_id) FROM cdp.profile');
my $a = '\set a random(40000, 40299)' . "\n";
my $b = '\set b random(40000, 40299)' . "\n";
my $m = '\set m random(1, 8)' . "\n";
storm($ENV{MCDP_CLIENT_SECONDS} || 4, {
	mix_identify => $a . $b . "SELECT try(format('say_identify(ARRAY[pick(%s), pick(%s)])', :a, :b));\n",
	mix_track => $a . $b . "SELECT try(format('say_track(ARRAY[pick(%s), pick(%s)], %s)', :a, :b, nextval('message_nr') + 1000000));\n",
	mix_merge => $a . $b . "SELECT try(format('say_merge(pick(%s), pick(%s))', :a, :b));\n",
	mix_import => "SELECT cdp.import_identities('SELECT pick(40000 + floor(random() * 300)::int), pick(40000 + floor(random() * 300)::int) FROM generate_series(1, 3)', 'import');\n",
	mix_unmerge => $m . "SELECT try('cdp.unmerge((SELECT merge_id FROM cdp.profile_merge WHERE undone_at IS NULL AND leaf_a > ' || $first || ' ORDER BY merge_id DESC OFFSET ' || :m || ' LIMIT 1), false)');\n",
	mix_split => $a . "SELECT try(format('say_split(pick(%s))', :a));\n",
	mix_erase => $a . "SELECT try(format('cdp.erase_profile(cdp.resolve(pick(%s)))', :a));\n",
	mix_deliver => $a . "SELECT deliver(:a, 13333, 100);\n",
	drain => '',
	clock => '',
}, { mix_identify => 8, mix_track => 8, mix_merge => 3, mix_import => 1, mix_unmerge => 4, mix_split => 3, mix_erase => 1, mix_deliver => 1, drain => 2, clock => 1 });
note($node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM cdp.profile_merge WHERE undone_at IS NOT NULL) || ' undone, ' || (SELECT count(*) FROM cdp.identifier_split) || ' split, '
	|| (SELECT count(*) FROM cdp.erasure) || ' erased, ' || (SELECT count(*) FROM cdp.rejected) || ' rejected'}));

# an identifier speaks for its leaf where a merge by hand names that
%above = ();
for my $row (split /\n/, $node->safe_psql('postgres', q{
	SELECT a::text || ' ' || b::text FROM cdp.identity_edge WHERE inactive_at IS NULL
	UNION ALL SELECT '#' || leaf_a || ' #' || leaf_b FROM cdp.profile_merge WHERE undone_at IS NULL AND cause = 'manual'
	UNION ALL SELECT min(identifier::text) || ' #' || profile_id FROM cdp.identifier_link GROUP BY profile_id
	UNION ALL SELECT identifier::text || ' ' || identifier::text FROM cdp.identifier_link}))
{
	my ($one, $other) = split / /, $row;
	$above{ root($other) } = root($one);
}
%members = ();
/^#/ or push @{ $members{ root($_) } }, $_ for keys %above;
$expected = join "\n", sort map { join ' ', sort @$_ } values %members;
is($node->safe_psql('postgres', $who_is_who), $expected, 'who is who by the evidence that is left: ' . keys(%members) . ' components');

# Splits are settled once the transactions of that time are over.
my $pending = 1;
for (my $n = 0; $pending && $n < 100; $n++)
{
	$node->safe_psql('postgres', q{CALL cdp.run('2026-03-01Z')});
	$pending = $node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM cdp.split_pending) + (SELECT count(*) FROM cdp.erasure_pending)');
}
is($pending, 0, 'splits and erasures are settled');
%none = (
	# An event is forgotten with whom it came by; a message that names somebody who was erased is refused.  (One without
	# an event is forgotten with the profile that it was of, wherever its identifiers have gone since.)
	'no message is lost but of who was erased' => q{SELECT count(*) FROM said s
		WHERE NOT EXISTS (SELECT FROM event_message e WHERE e.message_id = s.message_id)
		  AND (what = 'track' AND NOT _is_tombstone(s.via::identifier)
			   OR what = 'inbox' AND substr(message_id, 2)::bigint % 5 > 0 AND NOT EXISTS (SELECT FROM unnest(s.names) n WHERE _is_tombstone(n::identifier)))},
	'a message is an event once' => $none{'a message is an event once'},
	'nobody invented a message' => $none{'nobody invented a message'},
	'an event is where its identifier is' => q{SELECT count(*) FROM event e LEFT JOIN identifier_link l ON l.identifier = e.via WHERE l.profile_id IS DISTINCT FROM e.profile_id},
	'timelines are what the events say' => q{SELECT count(*) FROM (SELECT l.canonical_id, timeline_agg(n.at, n.event, n.label, n.value) AS timeline
			FROM event e JOIN profile l USING (profile_id) CROSS JOIN LATERAL _event_entries(e.at, e.event, e.source, e.properties) n GROUP BY 1) e
		FULL JOIN (SELECT t.profile_id, t.timeline FROM profile_timeline t WHERE num_events(t.timeline) > 0) t ON t.profile_id = e.canonical_id
		WHERE t.timeline IS DISTINCT FROM e.timeline},
	'who was erased is gone' => q{SELECT count(*) FROM identifier_link WHERE _is_tombstone(identifier)},
	# (a leaf that lost all of its own to a split stands without any when its merge is undone)
	'no profile without an identifier but who lost it to a split' => q{SELECT count(*) FROM profile p WHERE NOT EXISTS (SELECT FROM identifier_link l WHERE l.profile_id = p.profile_id)
		AND NOT EXISTS (SELECT FROM parted x WHERE x.profile_id = p.profile_id)},
	'every identifier is somebody' => q{SELECT count(*) FROM identifier_link WHERE resolve(identifier) IS NULL},
	'canonical ids are roots' => $none{'canonical ids are roots'},
	'the universe is all canonical profiles' => $none{'the universe is all canonical profiles'},
	'nothing is rejected but of who was erased' => q{SELECT count(*) FROM rejected WHERE reason !~ 'erased'},
);
is($node->safe_psql('postgres', 'SET search_path = public, cdp; ' . $none{$_}), '0', $_) for sort keys %none;
is($deadlocks, 0, 'no client saw a deadlock');
# (autovacuum gives way to a client; that is said to nobody)
my @errors = grep { /(ERROR|FATAL|PANIC):/ && !/terminating connection|in recovery mode|is starting up|not yet accepting|ERROR:  canceling autovacuum task$/ } split /\n/, slurp_file($node->logfile);
is(join("\n", @errors), '', 'no other error');

done_testing();
