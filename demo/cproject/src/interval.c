#include "interval.h"

#include <stdlib.h>

static int by_first(const void *left, const void *right)
{
    const struct interval *a = left, *b = right;
    return (a->first > b->first) - (a->first < b->first);
}

size_t interval_merge(struct interval *all, size_t count)
{
    size_t kept = 0;
    if (count == 0)
        return 0;
    qsort(all, count, sizeof *all, by_first);
    for (size_t i = 1; i < count; i++) {
        if (all[i].first - 1 <= all[kept].last) {
            if (all[i].last > all[kept].last)
                all[kept].last = all[i].last;
        } else {
            all[++kept] = all[i];
        }
    }
    return kept + 1;
}
