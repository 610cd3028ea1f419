/* bin/tests/sampler-drive CASE.json COUNT: our samplers with somebody else's network, over pipes.
 *
 * CASE is an object {"cls", "config", "steps", "set_timesteps", "step_kwargs", "seed"}. Reads COUNT float32
 * (the start, before the initial sigma), then for each call writes "call TIMESTEP\n" and the input, and reads
 * the output; at the end writes "done\n" and the result. Exit codes as the tools': 2 the command line, 4 a
 * bad case or too little input. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/torch_random.h"
#include "common/file/diffusers.h"
#include "common/run/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_floats(float *x, size_t n, struct error *e)
{
    return fread(x, sizeof *x, n, stdin) == n
               ? 0
               : error_set(e, HASTEN_EFILE, "standard input ended before %zu numbers", n);
}

static int write_floats(const float *x, size_t n, struct error *e)
{
    return fwrite(x, sizeof *x, n, stdout) == n && fflush(stdout) == 0
               ? 0
               : error_errno(e, HASTEN_EFAIL, "standard output");
}

struct drive {
    struct sampler_config config;
    struct sampler_run run;
    double *sigmas;
    struct torch_random random;
};

/* The class name belongs into the configuration for us. */
static int read_case(struct drive *d, cJSON *json, struct error *e)
{
    const char *cls;
    cJSON *config = json_object(json, "config", e), *times, *step;
    int64_t steps, seed;
    size_t count;
    if (!config || json_string(json, "cls", &cls, e) < 0 ||
        json_add_string(config, "_class_name", cls, e) < 0 ||
        json_int(json, "steps", 1, 100000, &steps, e) < 0 ||
        sampler_config_read(&d->config, config, NULL, e) < 0 ||
        json_object_or(json, "set_timesteps", &times, e) < 0 ||
        json_object_or(json, "step_kwargs", &step, e) < 0 ||
        json_int_or(json, "seed", 0, INT64_C(1) << 53, 0, &seed, e) < 0)
        return -1;
    d->run.steps = (int)steps;
    if (times && json_get(times, "mu")) {
        d->run.has_mu = 1;
        if (json_double(times, "mu", -100, 100, &d->run.mu, e) < 0)
            return -1;
    }
    if (times && json_get(times, "sigmas")) {
        if (json_get_doubles(times, "sigmas", 0, 1e6, &d->sigmas, &count, e) < 0)
            return -1;
        if (count != (size_t)steps)
            return error_set(e, HASTEN_EFILE, "%zu sigmas for %lld steps", count, (long long)steps);
        d->run.sigmas = d->sigmas;
    }
    torch_random_seed(&d->random, (uint64_t)seed);
    return step ? json_double_or(step, "eta", 0, 1, 0, &d->run.eta, e) : 0;
}

static int drive(struct drive *d, size_t count, struct error *e)
{
    struct sampler *s = sampler_open(&d->config, &d->run, 1, (int64_t)count, e);
    float *x = mem_array(count, sizeof *x, e), *input = mem_array(count, sizeof *x, e),
          *output = mem_array(count, sizeof *x, e);
    float *noise = mem_array(count, sizeof *x, e);
    int status = s && x && input && output && noise ? read_floats(x, count, e) : -1;
    for (size_t i = 0; status == 0 && i < count; i++)
        x[i] *= (float)sampler_init_sigma(s);
    for (int call = 0; status == 0 && call < sampler_calls(s); call++) {
        sampler_scale(s, call, x, input);
        printf("call %.9g\n", sampler_timestep(s, call));
        if (write_floats(input, count, e) < 0 || read_floats(output, count, e) < 0)
            status = -1;
        int noisy = sampler_needs_noise(s, call);
        if (noisy)
            torch_randn(&d->random, noise, (int64_t)count);
        if (status == 0)
            sampler_step(s, call, output, NULL, noisy ? noise : NULL, x);
    }
    if (status == 0) {
        printf("done\n");
        status = write_floats(x, count, e);
    }
    sampler_close(s);
    mem_free(x);
    mem_free(input);
    mem_free(output);
    mem_free(noise);
    return status;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct drive d = {0};
    char *end = NULL;
    int number = argc == 3 && argv[2][0] >= '0' && argv[2][0] <= '9';
    unsigned long count = number ? strtoul(argv[2], &end, 10) : 0;
    if (!end || *end || !count) {
        fprintf(stderr, "usage: sampler-drive CASE.json COUNT\n");
        return HASTEN_EUSAGE;
    }
    cJSON *json = json_read_file(argv[1], &e);
    if (json && (read_case(&d, json, &e) < 0 || drive(&d, count, &e) < 0)) {
        error_under(&e, "%s", argv[1]);
        if (e.code == HASTEN_EUSAGE) /* the case's number of steps: here that is file content */
            e.code = HASTEN_EFILE;
    }
    cJSON_Delete(json);
    mem_free(d.sigmas);
    sampler_config_free(&d.config);
    if (e.code)
        fprintf(stderr, "sampler-drive: %s\n", e.text);
    return e.code;
}
