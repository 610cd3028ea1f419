/* The clock that everything is timed with: milliseconds since some moment, which never go back.
 *
 *     double start = clock_ms();
 *     ...
 *     double took = clock_ms() - start;
 */
#ifndef HASTEN_BASE_CLOCK_H
#define HASTEN_BASE_CLOCK_H

double clock_ms(void);

#endif
