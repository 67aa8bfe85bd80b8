/* Reads intervals, one "FIRST LAST" a line, and prints them merged. */

#include <stdio.h>

#include "interval.h"

#define COUNT_MAX 1024

int main(void)
{
    struct interval all[COUNT_MAX];
    size_t count = 0;
    while (count < COUNT_MAX && scanf("%ld %ld", &all[count].first, &all[count].last) == 2)
        count++;
    count = interval_merge(all, count);
    for (size_t i = 0; i < count; i++)
        printf("%ld %ld\n", all[i].first, all[i].last);
    return 0;
}
