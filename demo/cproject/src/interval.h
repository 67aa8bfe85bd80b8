#ifndef INTERVAL_H
#define INTERVAL_H

#include <stddef.h>

/* The whole numbers from first to last, both included. */
struct interval {
    long first;
    long last;
};

/* Sorts and joins intervals that overlap or touch. Returns how many are left. */
size_t interval_merge(struct interval *all, size_t count);

#endif
