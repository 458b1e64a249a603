# The background worker: messages go out without anybody calling the clock,
# through crashes and restarts; there are as many as there are to be, and they
# end when they are told to.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Patience;

my $node = PostgreSQL::Test::Cluster->new('worker');
$node->init;
$node->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off\nrestart_after_crash = on");
$node->start;

my $setup = <<'SQL';
CREATE EXTENSION marketing_cdp;
SELECT cdp.create_journey('thanks', '{"entry": {"on": "purchase", "reentry": "always"}, "purpose": "transactional", "start": "s",
	"steps": {"s": {"send": {"channel": "email", "template": "thanks"}, "next": "end"}}}'), cdp.activate_journey('thanks');
SQL
my $n = 0;

# An event now becomes a message soon.
sub message_comes
{
	my ($db, $what) = @_;
	$n++;
	$node->safe_psql($db, "SELECT cdp.track('{email:a$n\@example.com}', 'purchase')");
	ok(Patience::until_true($node, $db, "SELECT count(*) = $n FROM cdp.outbox"), "$what: a message comes by itself");
}
sub worker { return $node->safe_psql($_[0], "SELECT value FROM cdp.status() WHERE item = 'worker'") }
sub pid { my $w = worker($_[0]); return $w =~ /^process (\d+)$/ ? $1 : undef }
sub no_worker { return Patience::until_true($node, $_[0], q(SELECT value = 'none' FROM cdp.status() WHERE item = 'worker')) }

# started by hand
$node->safe_psql('postgres', $setup);
is(worker('postgres'), 'none', 'no worker unless asked for');
is($node->safe_psql('postgres', 'SELECT cdp.stop_worker()'), 'f', 'nothing to stop');
my $first = $node->safe_psql('postgres', 'SELECT cdp.start_worker()');
is(pid('postgres'), $first, 'status() shows the process');
is($node->safe_psql('postgres', 'SELECT cdp.start_worker()'), $first, 'starting it again finds it');
message_comes('postgres', 'started by hand');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'marketing_cdp worker')), 1, 'one worker');
is($node->safe_psql('postgres', q(SELECT count(*) FROM cdp.task_state WHERE failing)), 0, 'no task fails');

# a second process sees the first and goes
$node->safe_psql('postgres', 'SELECT cdp._start_worker()');
ok(Patience::until_true($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'marketing_cdp worker')),
	'a second process ends');
is(pid('postgres'), $first, 'the first stays');

# a query that is cancelled ends the process, and the postmaster starts it anew
$node->safe_psql('postgres', "SELECT pg_cancel_backend($first)");
message_comes('postgres', 'cancelled');

# SIGKILL: the server starts anew, and so does the worker
my $killed = pid('postgres');
kill('KILL', $killed);
Patience::until_true($node, 'postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $killed");
message_comes('postgres', 'killed');
isnt(pid('postgres'), $killed, 'it is another process');

# a task that fails is noted and does not stop the others
$node->safe_psql('postgres', q(ALTER TABLE cdp.tag_size RENAME TO gone));
$node->safe_psql('postgres', q(SELECT cdp.tag(1, 'vip')));
message_comes('postgres', 'with a failing task');
ok(Patience::until_true($node, 'postgres', q(SELECT failing FROM cdp.task_state WHERE task = 'tag_sizes')), 'the failure is noted');
$node->safe_psql('postgres', q(ALTER TABLE cdp.gone RENAME TO tag_size));

# Two of them.
sub set_workers
{
	my ($num) = @_;
	$node->append_conf('postgresql.conf', "marketing_cdp.workers = $num");
	$node->reload;
	return Patience::until_true($node, 'postgres', "SELECT cdp._worker_places() = $num");
}
sub workers { return worker('postgres') =~ /^process(?:es)? ([\d, ]+)$/ ? split(/, /, $1) : () }
set_workers(2);
my $started = $node->safe_psql('postgres', 'SELECT cdp.start_worker()');
my @two = workers();
is(scalar(@two), 2, 'status() shows both');
is($started, $two[0], 'start_worker() returns the first');
is($node->safe_psql('postgres', 'SELECT cdp.start_worker()'), $two[0], 'starting them again finds them');
is_deeply([ workers() ], \@two, 'both');
message_comes('postgres', 'two workers');
for my $i (0, 1)
{
	kill('STOP', $two[$i]);
	message_comes('postgres', "without worker $i");
	kill('CONT', $two[$i]);
}

# Sessions that start them at the same time all find them.
is($node->safe_psql('postgres', 'SELECT cdp.stop_worker()'), 't', 'both are stopped');
ok(no_worker('postgres'), 'none left');
my @starting = map { my %s = (out => '', err => '');
	$s{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', 'SELECT cdp.start_worker()' ], '<', '/dev/null', '>', \$s{out}, '2>', \$s{err}); \%s } 1 .. 4;
$_->{run}->finish for @starting;
is(join('', map { $_->{err} } @starting), '', 'four sessions start them at once');
ok(Patience::until_true($node, 'postgres', q(SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'marketing_cdp worker')), 'two remain');

# more than the server has room for
set_workers(32);
my (undef, undef, $no_room) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT cdp.start_worker()");
like($no_room, qr/53400: the worker did not begin to work.*DETAIL: +\d+ of 32 are at work/s, 'as many as the server has room for');
set_workers(2);
ok(Patience::until_true($node, 'postgres', q(SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'marketing_cdp worker')), 'what is too many ends');

# Events of the same few people from four sessions, while a worker is thrown out:
# every event becomes one message, and everybody is welcomed once.
$node->safe_psql('postgres', q(SELECT cdp.create_journey('welcome', '{"entry": {"on": "visit", "reentry": "once"}, "purpose": "transactional", "start": "s",
	"steps": {"s": {"send": {"channel": "email", "template": "welcome"}, "next": "end"}}}'), cdp.activate_journey('welcome'),
	cdp.create_journey('visits', '{"entry": {"on": "visit"}, "purpose": "transactional", "start": "s",
	"steps": {"s": {"send": {"channel": "email", "template": "visit"}, "next": "end"}}}'), cdp.activate_journey('visits')));
my @visitors = map { my %s = (out => '', err => '');
	$s{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', qq(DO \$\$ BEGIN FOR i IN 1 .. 400 LOOP
		PERFORM cdp.track(ARRAY['email:v' || (i % 40) || '\@example.com']::cdp.identifier[], 'visit', '{}', '2026-01-01Z'::timestamptz + make_interval(secs => 4 * i + $_)); COMMIT; END LOOP; END \$\$) ],
		'<', '/dev/null', '>', \$s{out}, '2>', \$s{err}); \%s } 1 .. 4;
Patience::until_true($node, 'postgres', q(SELECT count(*) > 100 FROM cdp.outbox WHERE journey = 'visits'));
$node->safe_psql('postgres', 'SELECT pg_cancel_backend((cdp._workers())[1])');
$_->{run}->finish for @visitors;
is(join('', map { $_->{err} } @visitors), '', 'four sessions track visits');
ok(Patience::until_true($node, 'postgres', q(SELECT count(*) >= 1600 FROM cdp.outbox WHERE journey = 'visits')), 'every visit becomes a message');
ok(Patience::until_true($node, 'postgres', 'SELECT NOT cdp._is_urgent(now())'), 'nothing is left');
is($node->safe_psql('postgres', q(SELECT journey, count(*), count(DISTINCT (recipient_id, due_at)), count(DISTINCT recipient_id) FROM cdp.outbox WHERE journey <> 'thanks' GROUP BY 1 ORDER BY 1)),
	"visits|1600|1600|40\nwelcome|40|40|40", 'once');
is($node->safe_psql('postgres', q(SELECT count(*), min(cdp.num_events(timeline, 'visit')), max(cdp.num_events(timeline, 'visit')), sum(cdp.num_events(timeline, 'message_sent'))
	FROM cdp.profile_timeline WHERE cdp.num_events(timeline, 'visit') > 0)), '40|40|40|1640', 'and stands in the timelines, once');
is($node->safe_psql('postgres', q(SELECT count(*) FROM cdp.task_state WHERE failing)), 0, 'no task fails');
$n += 1640;
set_workers(1);
ok(Patience::until_true($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'marketing_cdp worker')), 'fewer again');
message_comes('postgres', 'one worker again');

# stopped for good, while it waits for a lock, too
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE cdp.task_state');
$node->safe_psql('postgres', q(SELECT cdp.track('{email:locked@example.com}', 'purchase')));
Patience::until_true($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'marketing_cdp worker' AND wait_event_type = 'Lock'));
is($node->safe_psql('postgres', 'SELECT cdp.stop_worker()'), 't', 'stopped while it waits');
$holder->query_safe('COMMIT');
$holder->quit;
ok(no_worker('postgres'), 'none left');
$n++;
$node->safe_psql('postgres', 'CALL cdp.run()');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.outbox'), $n, 'what it was about to do is done by the next run, once');

# it ends when its extension is dropped, and an idle worker writes nothing
$node->safe_psql('postgres', 'SELECT cdp.start_worker()');
message_comes('postgres', 'started once more');
Patience::until_true($node, 'postgres', 'SELECT cdp._due_tasks(now()) = \'{}\' AND NOT cdp._is_urgent(now())');
$node->safe_psql('postgres', 'SELECT pg_sleep(1)');
my $writes = q(SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE schemaname = 'cdp');
my $before = $node->safe_psql('postgres', $writes);
$node->safe_psql('postgres', 'SELECT pg_sleep(2)');
is($node->safe_psql('postgres', $writes), $before, 'an idle worker writes nothing');
$node->safe_psql('postgres', 'DROP EXTENSION marketing_cdp CASCADE');
ok(Patience::until_true($node, 'postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'marketing_cdp worker')),
	'it ends with its extension');

# started with the server, in two databases; one has no extension yet
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('postgres', 'CREATE DATABASE "The Store"');
$node->append_conf('postgresql.conf',
	qq(shared_preload_libraries = 'marketing_cdp'\nmarketing_cdp.worker_databases = 'shop, "The Store"'\nmarketing_cdp.workers = 2\nmarketing_cdp.worker_naptime = 100));
$node->safe_psql('shop', $setup);
$node->restart;
$n = 0;
message_comes('shop', 'started with the server');
is($node->safe_psql('shop', 'SELECT cardinality(cdp._workers())'), 2, 'both of them');
$node->restart;
message_comes('shop', 'started anew with the server');
$node->safe_psql('shop', q(SELECT cdp.track('{email:b@example.com}', 'purchase')));
$node->stop('immediate');
$node->start;
$n++;
ok(Patience::until_true($node, 'shop', "SELECT count(*) = $n FROM cdp.outbox"), 'after a crash of the server, too');
is($node->safe_psql('shop', 'SELECT cdp.stop_worker()'), 't', 'workers of the server can be stopped');
ok(no_worker('shop'), 'none left');
like($node->safe_psql('shop', 'SELECT cdp.start_worker()'), qr/^\d+$/, 'and started by hand');
$node->safe_psql('postgres', 'DROP DATABASE shop WITH (FORCE)');
$node->safe_psql('The Store', $setup);
$n = 0;
message_comes('The Store', 'an extension made later');

my ($rc, undef, $err) = $node->psql('postgres', 'ALTER SYSTEM SET marketing_cdp.worker_databases = \'shop,,x\'');
like($err, qr/invalid value for parameter "marketing_cdp.worker_databases"/, 'a broken list is refused');

$node->stop;
done_testing();
