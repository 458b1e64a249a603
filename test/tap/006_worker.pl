# The background worker: messages go out without anybody calling the clock,
# through crashes and restarts; it is alone, and ends when it is told to.
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
$node->psql('postgres', 'SELECT cdp._start_worker()');		# an error if it ended before it was seen
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
Patience::until_true($node, 'postgres', 'SELECT NOT cdp._is_due(now()) AND NOT cdp._is_urgent(now())');
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
	qq(shared_preload_libraries = 'marketing_cdp'\nmarketing_cdp.worker_databases = 'shop, "The Store"'\nmarketing_cdp.worker_naptime = 100));
$node->safe_psql('shop', $setup);
$node->restart;
$n = 0;
message_comes('shop', 'started with the server');
$node->restart;
message_comes('shop', 'started anew with the server');
$node->safe_psql('shop', q(SELECT cdp.track('{email:b@example.com}', 'purchase')));
$node->stop('immediate');
$node->start;
$n++;
ok(Patience::until_true($node, 'shop', "SELECT count(*) = $n FROM cdp.outbox"), 'after a crash of the server, too');
is($node->safe_psql('shop', 'SELECT cdp.stop_worker()'), 't', 'a worker of the server can be stopped');
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
