/* The end of every test program:
 *
 *     return run_suite(suite);             // runs it, frees it; the exit status
 */
#ifndef HASTEN_RUN_SUITE_H
#define HASTEN_RUN_SUITE_H

#include <check.h>

static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif
