# Time, memory and disk end in the middle: a clear error, the server lives,
# nothing is half done, and in the end everything is as on a calm day.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('limits');
$node->init;
$node->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off\nmax_wal_size = 64MB");
$node->start;

# Message n is always the same, so that it can be delivered as often as one likes.
my $setup = <<'SQL';
CREATE EXTENSION marketing_cdp;
SELECT cdp.create_journey('thanks', '{"entry": {"on": "purchase", "key": "label"}, "purpose": "transactional", "start": "s", "steps": {
	"s": {"send": {"channel": "email", "template": "thanks"}, "next": "w"}, "w": {"wait": "2d", "next": "t"}, "t": {"tag": "thanked", "next": "end"}}}'), cdp.activate_journey('thanks');
SELECT cdp.define_segment('buyers', 'count(purchase) >= 2');
CREATE FUNCTION messages(since int, until int) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN (
	SELECT jsonb_agg(jsonb_build_object('type', 'track', 'messageId', 'm' || n, 'event', (ARRAY['purchase', 'view', 'cart'])[1 + n % 3], 'userId', 'u' || n * 7 % 200,
		'anonymousId', 'a' || n % 90, 'timestamp', to_char(timestamp '2026-01-01' + n * interval '20 min', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'properties', jsonb_build_object('value', n, 'product_id', 'p' || n % 4, 'note', repeat(md5(n::text), 10)))) FROM generate_series(since, until - 1) n);
SQL
my $finish = <<'SQL';
SELECT sum(cdp.ingest(messages(n, n + 200), '2026-03-01Z')) FROM generate_series(0, 2800, 200) n;
SELECT count(*) FROM cdp.tick('2026-03-01Z', '10 min');
SQL
my $path = 'SET search_path = public, cdp; ';
my $answers = $path . q{
	SELECT string_agg(DISTINCT l.identifier::text, ' ' ORDER BY l.identifier::text), s.stage, s.since, s.due_at,
		(SELECT md5(string_agg(e::text, ' ' ORDER BY e)) FROM timeline_events(timeline_of(p.canonical_id)) e WHERE e.event <> 'message_sent')
	FROM identifier_link l JOIN profile p USING (profile_id) LEFT JOIN lifecycle_state s ON s.profile_id = p.canonical_id
	GROUP BY p.canonical_id, s.stage, s.since, s.due_at ORDER BY 1};
my %none = (
	'a message is an event once' => q{SELECT count(*) FROM (SELECT message_id FROM event WHERE source IS DISTINCT FROM 'journey' GROUP BY 1 HAVING count(*) <> 1) x},
	'no message is lost' => q{SELECT 3000 - count(*) FROM event WHERE source IS DISTINCT FROM 'journey'},
	'nothing is rejected' => 'SELECT count(*) FROM rejected',
	'a run sends one message at most' => q{SELECT count(*) FROM (SELECT run_id FROM outbox GROUP BY 1 HAVING count(*) > 1) x},
	'no task fails' => 'SELECT count(*) FROM task_state WHERE failing',
	'stages follow the timelines' => q{SELECT count(*) FROM profile p LEFT JOIN lifecycle_state s USING (profile_id)
		WHERE p.kind = 'person' AND p.canonical_id = p.profile_id AND s.stage IS DISTINCT FROM lifecycle(timeline_of(p.profile_id), '2026-03-01Z')},
	'the segment is its rule' => q{SELECT rb_xor_cardinality(segment_members('buyers'), audience('count(purchase) >= 2', '2026-03-01Z'))});

$node->safe_psql('postgres', "CREATE DATABASE calm");
$node->safe_psql('calm', $setup);
$node->safe_psql('calm', $finish);
my $calm = $node->safe_psql('calm', $answers);
isnt($calm, '', 'there is an answer');

sub as_calm
{
	my ($db, $what, $server) = (@_, $node);
	$server->safe_psql($db, $finish);
	is($server->safe_psql($db, $path . $none{$_}), '0', "$what: $_") for sort keys %none;
	is($server->safe_psql($db, $answers), $calm, "$what: the same answers as on a calm day");
	my $derived = $path . q{SELECT profile_id, stage, since, due_at, timeline_of(profile_id), _all_tags_of(profile_id) t FROM lifecycle_state ORDER BY profile_id, t};
	my $before = $server->safe_psql($db, $derived);
	$server->safe_psql($db, q{SELECT cdp.rebuild('all', '2026-03-01Z')});
	is($server->safe_psql($db, $derived), $before, "$what: rebuild changes nothing");
}

# --- statement_timeout: every call is broken off at many points -----------------
$node->safe_psql('postgres', 'CREATE DATABASE hasty');
$node->safe_psql('hasty', $setup);
my ($broken, $done) = (0, 0);
my %other;
for my $ms (1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 60, 90, 130, 200)
{
	for my $call ("SELECT cdp.ingest(messages($ms * 10, $ms * 10 + 150), '2026-03-01Z')", q{SELECT cdp.tick('2026-02-01Z')}, q{CALL cdp.run('2026-02-10Z')}, q{SELECT cdp.rebuild('all', '2026-02-10Z')},
		q{SELECT cdp.refresh_segments(at => '2026-02-10Z')}, q{SELECT cdp.tag(cdp.audience('count(view) >= 1', '2026-02-10Z'), 'seen', at => '2026-02-10Z')}, q{SELECT cdp.advance_journeys('2026-02-10Z')},
		q{SELECT cdp.unmerge(cdp.merge(a.profile_id, b.profile_id, at => '2026-02-10Z'), false, at => '2026-02-10Z') FROM cdp.profile a, cdp.profile b WHERE a.canonical_id = a.profile_id AND b.canonical_id = b.profile_id AND a.profile_id < b.profile_id AND a.kind = b.kind LIMIT 1})
	{
		my ($ret, $out, $err) = $node->psql('hasty', "SET statement_timeout = '${ms}ms'; $call");
		if ($err eq '') { $done++ } elsif ($err =~ /canceling statement due to statement timeout/) { $broken++ } else { $other{$err}++ }
	}
}
cmp_ok($broken, '>', 10, "calls were broken off ($broken, and $done were not)");
cmp_ok($done, '>', 10, 'others were not');
is(join("\n", keys %other), '', 'nothing else went wrong');
$node->safe_psql('hasty', q{DELETE FROM cdp.task_state WHERE failing; SELECT cdp.untag(cdp.tagged('seen'), 'seen', '2026-02-11Z')});
as_calm('hasty', 'statement_timeout');

# --- memory: the backend may not take more than so much --------------------------
SKIP:
{
	skip 'no prlimit to limit the memory of a backend', 1 if system('prlimit --version >/dev/null 2>&1') != 0;
	my %hungry = (
		'a bitmap of many containers' => q{SELECT cdp.rb_cardinality(cdp.rb_build_agg(g << 16)) FROM generate_series(1::bigint, 30000000) g},
		'bitmaps with bit sets' => q{SELECT cdp.rb_cardinality(cdp.rb_build_agg(g * 3)) FROM generate_series(1::bigint, 700000000, 1) g WHERE g % 3 <> 1},
		'a timeline of millions' => q{SELECT cdp.num_events(cdp.timeline_agg(timestamptz '2026-01-01Z' + g * interval '1 s', 'event ' || g % 100, 'label ' || g, g::float8)) FROM generate_series(1, 30000000) g},
		'components of millions' => q{SELECT count(*) FROM cdp.connected_components('SELECT ''node '' || g, ''node '' || g + 1 || repeat(''x'', 60) FROM generate_series(1, 20000000) g')},
		'quantiles of millions' => q{SELECT cdp.quantile_edges(g::float8, '{0.5}') FROM generate_series(1, 100000000) g},
		'a batch of messages' => q{SELECT cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'messageId', 'x' || g, 'userId', 'x' || g, 'event', 'x', 'timestamp', '2026-01-01T00:00:00Z', 'properties', jsonb_build_object('p', repeat('y', 200)))) FROM generate_series(1, 300000) g))},
		'a rule of many terms' => q{SELECT cdp.audience_count(('count(view) > 0' || repeat(' | count(view) > 1 & "some tag" & age > 3', 2000000))::cdp.criteria)},
		'a pattern of many steps' => q{SELECT cdp.sequence_match(cdp.timeline_agg('2026-01-01Z', 'a'), 'a' || repeat(' -> "b"', 20000000))});
	for my $what (sort keys %hungry)
	{
		my ($ret, $out, $err) = $node->psql('calm', <<SQL, on_error_stop => 0);
SELECT pg_backend_pid() AS pid, cdp.rb_cardinality(cdp.audience('all', '2026-03-01Z')) AS n \\gset
\\setenv PID :pid
\\! prlimit --pid \$PID --as=\$((\$(grep VmSize /proc/\$PID/status | tr -dc 0-9) * 1024 + 150000000))
SET statement_timeout = '30 s';
SET work_mem = '1GB';
$hungry{$what};
RESET statement_timeout;
SELECT cdp.rb_cardinality(cdp.audience('all', '2026-03-01Z')) = :n AND pg_backend_pid() = :pid;
SQL
		like($err, qr/ERROR:  (out of memory|invalid memory alloc|.* (exceeds|too (long|large|many|complex|deep)|limit)|canceling|stack depth|.*does not fit|.*more than)/i, "$what: an error that says what");
		note($what . ': ' . ($err =~ /(ERROR:.*)/ ? $1 : $err));
		like($out, qr/^t$/m, "$what: the session lives on");
	}
	is($node->safe_psql('calm', $answers), $calm, 'memory: the answers are the same');
}

# --- a file that cannot grow ------------------------------------------------------
SKIP:
{
	skip 'no prlimit to limit the files of a backend', 1 if system('prlimit --version >/dev/null 2>&1') != 0;
	$node->safe_psql('postgres', 'CREATE DATABASE narrow');
	$node->safe_psql('narrow', $setup);
	my %said;
	for my $blocks (4, 8, 16, 24, 40, 60)
	{
		my $size = $blocks * 8192;
		my ($ret, $out, $err) = $node->psql('narrow', <<SQL, on_error_stop => 0);
SELECT pg_backend_pid() AS pid \\gset
\\setenv PID :pid
\\! prlimit --pid \$PID --fsize=$size:
SELECT cdp.ingest(messages(0, 3000), '2026-03-01Z');
SELECT cdp.tick('2026-02-01Z');
SELECT 'alive';
SQL
		$said{$1}++ while $err =~ /ERROR:  (.*)/g;
		like($out, qr/^alive$/m, "files of at most $blocks blocks: the session lives on");
	}
	like(join("\n", keys %said), qr/could not (extend|write)/, 'and the error says what');
	as_calm('narrow', 'no room in a file');
}

# --- a full disk -----------------------------------------------------------------
SKIP:
{
	my $small = $ENV{SMALL_DISK};
	skip 'a small disk can be mounted by root only', 1 unless $small && -d $small;

	# rows
	mkdir "$small/space" or die;
	$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$small/space'");
	$node->safe_psql('postgres', 'CREATE DATABASE full_disk TABLESPACE small');
	$node->safe_psql('full_disk', $setup);
	system("dd if=/dev/zero of=$small/filler bs=8k 2>/dev/null; truncate -s -1M $small/filler");
	my ($full, $went) = ('', 0);
	for my $n (0 .. 14)
	{
		my ($ret, $out, $err) = $node->psql('full_disk', 'SELECT cdp.ingest(messages(' . $n * 200 . ', ' . ($n + 1) * 200 . q{), '2026-03-01Z'); SELECT cdp.tick('2026-02-01Z'); SELECT 'alive'}, on_error_stop => 0);
		$full .= $err;
		# PostgreSQL turns a session away when it cannot write the catalog's cache file.
		$went++ if $out =~ /alive/ || $err =~ /FATAL:  could not write init file/;
	}
	like($full, qr/ERROR:  could not extend file .*No space left on device.*\n.*HINT:  Check free disk space/, 'a full disk: the error says what');
	is($went, 15, "a full disk: the sessions live on") or diag(join "\n", grep { /ERROR|FATAL|PANIC/ } split /\n/, $full);
	unlink "$small/filler";
	as_calm('full_disk', 'a full disk');
	$node->safe_psql('postgres', 'DROP DATABASE full_disk');
	$node->safe_psql('postgres', 'DROP TABLESPACE small');

	# the log: the server stops, and begins where it was when there is room
	my $log = PostgreSQL::Test::Cluster->new('log');
	$log->init(extra => [ '-X', "$small/wal", '--wal-segsize=1' ]);
	$log->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off\nmax_wal_size = 1GB\nmin_wal_size = 2MB\ncheckpoint_timeout = 1h\nrestart_after_crash = off");
	$log->start;
	$log->safe_psql('postgres', 'CREATE DATABASE full_log');
	$log->safe_psql('full_log', $setup);
	$log->safe_psql('full_log', "SELECT cdp.ingest(messages(0, 400), '2026-03-01Z')");
	system("dd if=/dev/zero of=$small/filler bs=8k 2>/dev/null");
	my $n = 400;
	my $out = '';
	while ($n < 3000)
	{
		my ($ret, $said, $err) = $log->psql('full_log', "SELECT cdp.ingest(messages($n, $n + 100), '2026-03-01Z'); CALL cdp.run('2026-02-01Z')", timeout => 120);
		$out .= $err;
		last if $ret != 0;
		$n += 100;
	}
	cmp_ok($n, '<', 3000, 'a full log: the server stopped');
	unlink "$small/filler";
	$log->_update_pid(0) if $log->can('_update_pid');
	system('pg_ctl', '-D', $log->data_dir, '-m', 'immediate', 'stop', '-s') if -e $log->data_dir . '/postmaster.pid';
	$log->start;
	my $taken = $log->safe_psql('full_log', q{SELECT count(*) FROM cdp.event WHERE source IS DISTINCT FROM 'journey'});
	cmp_ok($taken, '>=', $n, "a full log: what was accepted is there ($taken of $n)");
	as_calm('full_log', 'a full log', $log);
	$log->stop;
}
done_testing();
