# A library that exports its own CRoaring, loaded before ours, must be noticed:
# our calls would end up in it.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
open my $c, '>', "$dir/carrier.c" or die;
print $c <<'EOF';
#include "postgres.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
__attribute__((visibility("default"))) void *roaring_bitmap_create(void);
void *roaring_bitmap_create(void) { return NULL; }
__attribute__((visibility("default"))) void *roaring_bitmap_create_with_capacity(uint32 cap);
void *roaring_bitmap_create_with_capacity(uint32 cap) { return NULL; }
EOF
close $c;
chomp(my $include = `pg_config --includedir-server`);
plan skip_all => 'no C compiler'
  if system("cc -w -fPIC -shared -I$include -o $dir/carrier.so $dir/carrier.c") != 0;

my $node = PostgreSQL::Test::Cluster->new('library');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION marketing_cdp');
is($node->safe_psql('postgres', "SELECT cdp.rb_build('{2,1}')"), '{1,2}', 'alone it works');
my ($rc, $out, $err) = $node->psql('postgres', "LOAD '$dir/carrier.so'; SELECT cdp.rb_build('{2,1}')");
like($err, qr/another loaded library takes the place of libroaring.*carrier\.so/s, 'a library in the way is named');
is($node->safe_psql('postgres', "SELECT cdp.rb_build('{2,1}')"), '{1,2}', 'another session is not concerned');
$node->stop;
done_testing();
