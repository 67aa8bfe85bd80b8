#include <stdio.h>
#include <string.h>

#include "interval.h"

static int failed;

static void expect(const char *name, struct interval *in, size_t count, const struct interval *want, size_t wanted)
{
    size_t got = interval_merge(in, count);
    int same = got == wanted && (got == 0 || memcmp(in, want, got * sizeof *in) == 0);
    printf("%s %s\n", same ? "ok    " : "FAILED", name);
    failed += !same;
}

int main(void)
{
    struct interval apart[] = {{7, 8}, {1, 2}};
    struct interval overlapping[] = {{1, 5}, {3, 9}};
    struct interval touching[] = {{1, 2}, {3, 4}};
    struct interval inside[] = {{1, 9}, {2, 3}, {11, 12}};
    expect("nothing stays nothing", NULL, 0, NULL, 0);
    expect("those apart are sorted", apart, 2, (struct interval[]){{1, 2}, {7, 8}}, 2);
    expect("those that overlap are joined", overlapping, 2, (struct interval[]){{1, 9}}, 1);
    expect("those that touch are joined", touching, 2, (struct interval[]){{1, 4}}, 1);
    expect("one inside another vanishes", inside, 3, (struct interval[]){{1, 9}, {11, 12}}, 2);
    printf("%d failed\n", failed);
    return failed != 0;
}
