/* The samplers against diffusers 0.42: the cases of testdata/golden/samplers.json
 * (scripts/golden/samplers.py) after every call, and the 107 runs of ../shared/golden/schedulers.json where
 * that lies beside the project.
 *
 * Tolerance of the first 2e-6 relative to the latent's length: both sides compute in float32, diffusers with
 * MKL's square roots and vectors of its own, and a step from a large noise level leaves a small difference of
 * large numbers. Of the second 2e-5, the project's promise. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/base/torch_random.h"
#include "common/method/tests/golden.h"
#include "common/run/sampler_numbers.h"

#include <math.h>

enum { SIZE = 20, IMAGES = 3, PUBLISHED = 768 };

static const char *const golden_path = "testdata/golden/samplers.json";
static const char *const shared_path = "../shared/golden/schedulers.json";

/* ---- a case as the scripts write it ---- */

struct setup {
    struct sampler_config config;
    struct sampler_run run;
    double *sigmas;
    uint64_t seed;
};

static const cJSON *find(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNull(v) ? NULL : v;
}

static void read_setup(const cJSON *c, struct setup *s)
{
    struct error e = {0};
    cJSON *config = cJSON_Duplicate(golden_get(c, "config"), 1);
    const cJSON *times = find(c, "set_timesteps"), *step = find(c, "step_kwargs"), *as = find(c, "as");
    cJSON_AddStringToObject(config, "_class_name", golden_get(c, "cls")->valuestring);
    *s = (struct setup){.run.steps = golden_int(c, "steps")};
    if (sampler_config_read(&s->config, config, as ? as->valuestring : NULL, &e) < 0)
        ck_abort_msg("%s", e.text);
    cJSON_Delete(config);
    if (times && find(times, "mu")) {
        s->run.has_mu = 1;
        s->run.mu = golden_number(times, "mu");
    }
    if (times && find(times, "sigmas"))
        s->run.sigmas = s->sigmas = golden_numbers(times, "sigmas", NULL);
    s->run.eta = step && find(step, "eta") ? golden_number(step, "eta") : 0;
    s->seed = find(c, "seed") ? (uint64_t)golden_number(c, "seed") : 0;
}

static void free_setup(struct setup *s)
{
    sampler_config_free(&s->config);
    free(s->sigmas);
}

static struct sampler *open_setup(const struct setup *s, int images, int64_t size)
{
    struct error e = {0};
    struct sampler *x = sampler_open(&s->config, &s->run, images, size, &e);
    ck_assert_msg(x != NULL, "%s", e.text);
    return x;
}

/* ---- the embedded cases ---- */

struct network {
    float *a, *b, *start; /* [SIZE] */
};

static cJSON *load(struct network *n)
{
    cJSON *root = golden_load(golden_path);
    n->a = golden_floats(root, "a", NULL);
    n->b = golden_floats(root, "b", NULL);
    n->start = golden_floats(root, "start", NULL);
    return root;
}

static void unload(struct network *n, cJSON *root)
{
    free(n->a);
    free(n->b);
    free(n->start);
    cJSON_Delete(root);
}

/* Runs `images` latents of which image `image` is the golden one; the others start elsewhere and draw other
 * noise. Its latents after every call go to trace [calls][SIZE]. */
static void run_batch(struct sampler *s, const struct setup *setup, const struct network *net, int images,
                      int image, float *trace)
{
    float x[IMAGES * SIZE], in[IMAGES * SIZE], out[IMAGES * SIZE], more[IMAGES * SIZE], noise[IMAGES * SIZE];
    struct torch_random g[IMAGES];
    for (int k = 0; k < images; k++) {
        torch_random_seed(&g[k], k == image ? setup->seed : 1000 + (uint64_t)k);
        for (int i = 0; i < SIZE; i++)
            x[k * SIZE + i] = (k == image ? net->start[i] : (float)(k + 2) * net->start[SIZE - 1 - i]) *
                              (float)sampler_init_sigma(s);
    }
    sampler_restart(s, images);
    for (int call = 0; call < sampler_calls(s); call++) {
        float u = (float)sampler_timestep(s, call) / (float)setup->config.train_steps;
        sampler_scale(s, call, x, in);
        for (int i = 0; i < images * SIZE; i++) {
            out[i] = net->a[i % SIZE] * in[i] + net->b[i % SIZE] * u;
            more[i] = net->a[i % SIZE] / 2 + 0.1f * u;
            if (setup->config.variance == VARIANCE_LEARNED)
                more[i] = fabsf(more[i]);
        }
        for (int k = 0; k < images && sampler_needs_noise(s, call); k++)
            torch_randn(&g[k], noise + k * SIZE, SIZE);
        sampler_step(s, call, out, sampler_uses_variance(s) ? more : NULL,
                     sampler_needs_noise(s, call) ? noise : NULL, x);
        memcpy(trace + call * SIZE, x + image * SIZE, SIZE * sizeof *x);
    }
}

static double distance(const float *x, const double *expected)
{
    double d = 0, length = 0;
    for (int i = 0; i < SIZE; i++) {
        d += (x[i] - expected[i]) * (x[i] - expected[i]);
        length += expected[i] * expected[i];
    }
    return sqrt(d / length);
}

static void describe(const cJSON *c, char *text, size_t size)
{
    char *config = cJSON_PrintUnformatted(golden_get(c, "config"));
    snprintf(text, size, "%s %.300s, %d steps%s%s", golden_get(c, "cls")->valuestring, config,
             golden_int(c, "steps"), find(c, "as") ? " as " : "",
             find(c, "as") ? find(c, "as")->valuestring : "");
    cJSON_free(config);
}

START_TEST(every_call_equals_diffusers)
{
    struct network net;
    cJSON *root = load(&net), *c;
    double worst = 0;
    int count = 0;
    cJSON_ArrayForEach(c, golden_get(root, "cases"))
    {
        struct setup setup;
        char name[500];
        int calls;
        double *times = golden_numbers(c, "timesteps", &calls);
        float trace[100 * SIZE];
        describe(c, name, sizeof name);
        read_setup(c, &setup);
        struct sampler *s = open_setup(&setup, 1, SIZE);
        ck_assert_msg(sampler_calls(s) == calls, "%s: %d calls instead of %d", name, sampler_calls(s), calls);
        ck_assert_double_eq_tol(sampler_init_sigma(s), golden_number(c, "init_sigma"),
                                1e-6 * golden_number(c, "init_sigma"));
        run_batch(s, &setup, &net, 1, 0, trace);
        const cJSON *row = golden_get(c, "trace")->child;
        for (int i = 0; i < calls; i++, row = row->next) {
            double expected[SIZE];
            const cJSON *v = row->child;
            for (int k = 0; k < SIZE; k++, v = v->next)
                expected[k] = v->valuedouble;
            double d = distance(trace + i * SIZE, expected);
            worst = d > worst ? d : worst;
            /* Float timesteps are good to half an ulp at 1000. */
            ck_assert_msg(fabs(sampler_timestep(s, i) - times[i]) <= 6.2e-5, "%s: timestep %d is %g, not %g",
                          name, i, sampler_timestep(s, i), times[i]);
            ck_assert_msg(d <= 2e-6, "%s: %g off after call %d", name, d, i);
        }
        sampler_close(s);
        free_setup(&setup);
        free(times);
        count++;
    }
    ck_assert_int_ge(count, 100);
    printf("%d cases, at most %.1e off\n", count, worst);
    unload(&net, root);
}
END_TEST

/* ---- steps as numbers ---- */

/* One element through a step's numbers, as kernels/cuda/launch.h defines them. */
static float apply(const struct step_numbers *n, float x, float out, float noise, float v, float *history)
{
    float picture = n->picture_of[0] * x + n->picture_of[1] * out, target[1 + STEP_HISTORY] = {0};
    float share = (v + 1) / 2;
    if (n->clip > 0)
        picture = fminf(fmaxf(picture, -n->clip), n->clip);
    if (n->variance == STEP_RANGE)
        noise *= expf((share * n->high + (1 - share) * n->low) / 2);
    if (n->variance == STEP_LEARNED)
        noise *= sqrtf(v);
    float in[STEP_INPUTS] = {[STEP_X] = x, [STEP_OUT] = out, [STEP_PICTURE] = picture, [STEP_NOISE] = noise};
    for (int k = 0; k < STEP_HISTORY; k++)
        in[STEP_FIRST_HISTORY + k] = n->reads >> k & 1 ? history[k] : 0;
    for (int t = 0; t <= STEP_HISTORY; t++)
        for (int i = 0; i < STEP_INPUTS; i++)
            target[t] += n->to[t][i] * in[i];
    for (int k = 0; k < STEP_HISTORY; k++)
        history[k] = n->writes >> k & 1 ? target[1 + k] : history[k];
    return target[0];
}

static void run_numbers(const struct sampler *s, const struct setup *setup, const struct network *net,
                        const struct step_numbers *n, const float *scale, float *trace)
{
    float x[SIZE], noise[SIZE] = {0}, history[SIZE][STEP_HISTORY];
    struct torch_random g;
    torch_random_seed(&g, setup->seed);
    for (int i = 0; i < SIZE; i++) {
        x[i] = net->start[i] * (float)sampler_init_sigma(s);
        for (int k = 0; k < STEP_HISTORY; k++)
            history[i][k] = NAN; /* never read before it was written */
    }
    for (int call = 0; call < sampler_calls(s); call++) {
        float u = (float)sampler_timestep(s, call) / (float)setup->config.train_steps;
        if (sampler_needs_noise(s, call))
            torch_randn(&g, noise, SIZE);
        for (int i = 0; i < SIZE; i++) {
            float out = net->a[i] * (scale[call] * x[i]) + net->b[i] * u, more = net->a[i] / 2 + 0.1f * u;
            x[i] = apply(&n[call], x[i], out, noise[i],
                         setup->config.variance == VARIANCE_LEARNED ? fabsf(more) : more, history[i]);
        }
        memcpy(trace + call * SIZE, x, sizeof x);
    }
}

/* Tolerance 2e-5: the numbers are sums of what a step computes one after the other, so float32 rounds them
 * elsewhere; the first steps of some methods are differences of large numbers. */
START_TEST(numbers_are_the_steps)
{
    struct network net;
    cJSON *root = load(&net), *c;
    double worst = 0;
    int linear = 0, others = 0;
    cJSON_ArrayForEach(c, golden_get(root, "cases"))
    {
        struct setup setup;
        struct error e = {0};
        char name[500];
        float expected[100 * SIZE], got[100 * SIZE], scale[100];
        struct step_numbers n[100];
        describe(c, name, sizeof name);
        read_setup(c, &setup);
        struct sampler *s = open_setup(&setup, 1, SIZE);
        int status = sampler_numbers(&setup.config, &setup.run, 1, n, scale, &e);
        ck_assert_msg(status >= 0, "%s: %s", name, e.text);
        if (status == 1) {
            run_batch(s, &setup, &net, 1, 0, expected);
            run_numbers(s, &setup, &net, n, scale, got);
            for (int call = 0; call < sampler_calls(s); call++) {
                double wanted[SIZE];
                for (int i = 0; i < SIZE; i++)
                    wanted[i] = expected[call * SIZE + i];
                double d = distance(got + call * SIZE, wanted);
                worst = d > worst ? d : worst;
                ck_assert_msg(d <= 2e-5, "%s: %g off after call %d", name, d, call);
            }
            linear++;
        } else {
            int known = setup.config.thresholding || setup.config.clip_sample;
            ck_assert_msg(known, "%s has no numbers", name);
            others++;
        }
        sampler_close(s);
        free_setup(&setup);
    }
    printf("%d cases as numbers, at most %.1e off; %d cannot be\n", linear, worst, others);
    ck_assert_int_ge(linear, 90);
    unload(&net, root);
}
END_TEST

START_TEST(images_do_not_influence_each_other)
{
    struct network net;
    cJSON *root = load(&net), *c;
    cJSON_ArrayForEach(c, golden_get(root, "cases"))
    {
        struct setup setup;
        static float alone[100 * SIZE], together[100 * SIZE];
        read_setup(c, &setup);
        struct sampler *s = open_setup(&setup, IMAGES, SIZE);
        size_t bytes = sizeof(float) * SIZE * (size_t)sampler_calls(s), live = mem_live_blocks();
        run_batch(s, &setup, &net, 1, 0, alone); /* fewer than at opening; then again, with more */
        for (int image = 0; image < IMAGES; image++) {
            run_batch(s, &setup, &net, IMAGES, image, together);
            ck_assert_msg(!memcmp(alone, together, bytes), "%s: image %d differs in a batch",
                          golden_get(c, "cls")->valuestring, image);
        }
        ck_assert_uint_eq(mem_live_blocks(), live);
        sampler_close(s);
        free_setup(&setup);
    }
    unload(&net, root);
}
END_TEST

START_TEST(allocations_fail)
{
    struct network net;
    cJSON *root = load(&net), *c;
    cJSON_ArrayForEach(c, golden_get(root, "cases"))
    {
        struct setup setup;
        read_setup(c, &setup);
        size_t live = mem_live_blocks();
        struct sampler *s = NULL;
        for (int k = 1; !s; k++) {
            char setting[32];
            struct error e = {0};
            snprintf(setting, sizeof setting, "alloc:%d", k);
            fault_set(setting);
            s = sampler_open(&setup.config, &setup.run, 1, SIZE, &e);
            fault_set(NULL);
            ck_assert_msg(s || e.code == HASTEN_ENOMEM, "%s", e.text);
            ck_assert(s || mem_live_blocks() == live);
            ck_assert_msg(!s || k > 3, "opened although allocation %d failed", k);
        }
        sampler_close(s);
        ck_assert_uint_eq(mem_live_blocks(), live);
        free_setup(&setup);
    }
    unload(&net, root);
}
END_TEST

/* ---- the shared cases: the network is x * t / (t + 1) ---- */

static void run_shared(const cJSON *c, const char *name, double *worst)
{
    static float x[PUBLISHED], in[PUBLISHED], noise[PUBLISHED];
    struct setup setup;
    struct torch_random g;
    read_setup(c, &setup);
    struct sampler *s = open_setup(&setup, 1, PUBLISHED);
    torch_random_seed(&g, setup.seed);
    /* arange(768) / 768 of shape (3, 8, 8, 4), permuted to (4, 3, 8, 8) */
    for (int last = 0; last < 4; last++)
        for (int i = 0; i < PUBLISHED / 4; i++)
            x[last * (PUBLISHED / 4) + i] = (float)(4 * i + last) / PUBLISHED * (float)sampler_init_sigma(s);
    int calls, sums;
    double *times = golden_numbers(c, "timesteps", &calls),
           *sum = golden_numbers(c, "abs_sum_per_step", &sums);
    ck_assert_msg(sampler_calls(s) == calls && sums == calls, "%s: %d calls, not %d", name, sampler_calls(s),
                  calls);
    ck_assert_double_eq_tol(sampler_init_sigma(s), golden_number(c, "init_noise_sigma"), 1e-5);
    for (int call = 0; call < calls; call++) {
        float t = (float)sampler_timestep(s, call);
        ck_assert_double_eq_tol(t, times[call], 6.2e-5);
        sampler_scale(s, call, x, in);
        for (int i = 0; i < PUBLISHED; i++)
            in[i] = in[i] * t / (t + 1);
        if (sampler_needs_noise(s, call))
            torch_randn(&g, noise, PUBLISHED);
        sampler_step(s, call, in, NULL, sampler_needs_noise(s, call) ? noise : NULL, x);
        double total = 0;
        for (int i = 0; i < PUBLISHED; i++)
            total += fabsf(x[i]);
        double off = fabs(total / sum[call] - 1);
        ck_assert_msg(off <= 2e-5, "%s: %g off after call %d", name, off, call);
        *worst = off > *worst ? off : *worst;
    }
    free(times);
    free(sum);
    sampler_close(s);
    free_setup(&setup);
}

START_TEST(the_published_runs)
{
    FILE *f = fopen(shared_path, "rb");
    double worst = 0;
    int count = 0;
    if (!f) {
        printf("skipped: %s is not there\n", shared_path);
        return;
    }
    fclose(f);
    cJSON *root = golden_load(shared_path), *c;
    cJSON_ArrayForEach(c, root)
    {
        run_shared(c, c->string, &worst);
        count++;
    }
    ck_assert_int_eq(count, 107);
    printf("%d published runs, sums at most %.1e off\n", count, worst);
    cJSON_Delete(root);
}
END_TEST

/* ---- settings that are refused ---- */

static int try_config(const char *text, const char *kind, int steps, struct error *e)
{
    cJSON *json = json_parse(text, strlen(text), e);
    struct sampler_config c = {0};
    struct sampler_run run = {.steps = steps};
    struct sampler *s = NULL;
    ck_assert_msg(json != NULL, "%s: %s", text, e->text);
    if (sampler_config_read(&c, json, kind, e) == 0)
        s = sampler_open(&c, &run, 1, SIZE, e);
    sampler_config_free(&c);
    sampler_close(s);
    cJSON_Delete(json);
    return e->code;
}

/* A class and its further settings, with the code and a part of the message that must come. */
static const struct {
    const char *cls, *more, *kind;
    int steps, code;
    const char *message;
} bad[] = {
    {"DDIMScheduler", "", NULL, 0, HASTEN_EUSAGE, "0 steps: this sampler takes 1 to 1000"},
    {"DDIMScheduler", "", NULL, -1, HASTEN_EUSAGE, "-1 steps"},
    {"DDIMScheduler", "", NULL, 1001, HASTEN_EUSAGE, "1001 steps"},
    {"DDIMScheduler", ",\"steps_offset\":1", NULL, 1000, HASTEN_EUSAGE, "with steps_offset 1"},
    {"KarrasVeScheduler", "", NULL, 5, HASTEN_EFILE, "'KarrasVeScheduler' is not supported"},
    {"DDIMScheduler", "", "dpm++", 5, HASTEN_EUSAGE, "unknown sampler 'dpm++' (known: ddim"},
    {"DDIMScheduler", "", "flow-euler", 5, HASTEN_EUSAGE, "flow-euler is for flow models"},
    {"FlowMatchEulerDiscreteScheduler", "", "ddim", 5, HASTEN_EUSAGE, "a flow model can use"},
    {"DDIMScheduler", ",\"beta_start\":\"small\"", NULL, 5, HASTEN_EFILE, "beta_start"},
    {"DDIMScheduler", ",\"beta_end\":1.5", NULL, 5, HASTEN_EFILE, "beta_end"},
    {"DDIMScheduler", ",\"num_train_timesteps\":0", NULL, 5, HASTEN_EFILE, "num_train_timesteps"},
    {"DDIMScheduler", ",\"num_train_timesteps\":12.5", NULL, 5, HASTEN_EFILE, "num_train_timesteps"},
    {"DDIMScheduler", ",\"num_train_timesteps\":1e9", NULL, 5, HASTEN_EFILE, "num_train_timesteps"},
    {"DDIMScheduler", ",\"clip_sample\":\"yes\"", NULL, 5, HASTEN_EFILE, "clip_sample"},
    {"DDIMScheduler", ",\"prediction_type\":3", NULL, 5, HASTEN_EFILE, "prediction_type"},
    {"DDIMScheduler", ",\"prediction_type\":\"noise\"", NULL, 5, HASTEN_EFILE, "'noise' is not supported"},
    {"DDIMScheduler", ",\"timestep_spacing\":\"even\"", NULL, 5, HASTEN_EFILE, "timestep_spacing"},
    {"DDIMScheduler", ",\"beta_schedule\":\"laplace\"", NULL, 5, HASTEN_EFILE, "'laplace'"},
    {"DDIMScheduler", ",\"trained_betas\":[0.1,0.2]", NULL, 2, HASTEN_EFILE, "trained_betas has 2 numbers"},
    {"DDIMScheduler", ",\"trained_betas\":[0.1,\"x\"]", NULL, 2, HASTEN_EFILE, "trained_betas"},
    {"DDIMScheduler", ",\"num_train_timesteps\":2,\"trained_betas\":[0.1,1],\"clip_sample\":false", NULL, 2,
     HASTEN_EFILE, "leave no signal at timestep 1"},
    {"DDPMScheduler", ",\"beta_start\":0", NULL, 5, HASTEN_EFILE, "leave no noise at timestep 0"},
    {"DDPMScheduler", ",\"variance_type\":\"fixed_large_log\"", NULL, 5, HASTEN_EFILE, "variance_type"},
    {"LCMScheduler", "", NULL, 51, HASTEN_EUSAGE, "at most original_inference_steps = 50"},
    {"LCMScheduler", ",\"rescale_betas_zero_snr\":true", NULL, 5, HASTEN_EFILE, "rescale_betas_zero_snr"},
    {"PNDMScheduler", "", NULL, 3, HASTEN_EUSAGE, "takes at least 4"},
    {"PNDMScheduler", ",\"prediction_type\":\"sample\"", NULL, 5, HASTEN_EFILE, "PNDM predicts"},
    {"EulerAncestralDiscreteScheduler", ",\"prediction_type\":\"sample\"", NULL, 5, HASTEN_EFILE,
     "ancestral"},
    {"EulerDiscreteScheduler", ",\"beta_start\":0", NULL, 5, HASTEN_EFILE, "noise level 4 of 5 would be 0"},
    {"EulerDiscreteScheduler", ",\"prediction_type\":\"flow_prediction\"", NULL, 5, HASTEN_EFILE,
     "flow_pred"},
    {"EulerDiscreteScheduler", ",\"use_beta_sigmas\":true", NULL, 5, HASTEN_EFILE, "use_beta_sigmas"},
    {"EulerDiscreteScheduler", ",\"interpolation_type\":\"log_linear\"", NULL, 5, HASTEN_EFILE,
     "interpolation"},
    {"LMSDiscreteScheduler",
     ",\"num_train_timesteps\":10,\"timestep_spacing\":\"leading\",\"steps_offset\":1", NULL, 10,
     HASTEN_EUSAGE, "noise levels 0 and 1 are equal"},
    {"DPMSolverMultistepScheduler", ",\"algorithm_type\":\"sde-dpmsolver++\"", NULL, 5, HASTEN_EFILE,
     "algorithm_type"},
    {"DPMSolverMultistepScheduler", ",\"solver_order\":4", NULL, 5, HASTEN_EFILE, "solver_order"},
    {"DPMSolverMultistepScheduler", ",\"use_flow_sigmas\":true", NULL, 5, HASTEN_EFILE, "use_flow_sigmas"},
    {"DPMSolverMultistepScheduler", ",\"timestep_spacing\":\"leading\",\"num_train_timesteps\":10", NULL, 10,
     HASTEN_EUSAGE, "divides by zero"},
    {"UniPCMultistepScheduler", ",\"predict_x0\":false", NULL, 5, HASTEN_EFILE, "predict_x0"},
    {"UniPCMultistepScheduler", ",\"disable_corrector\":[0]", NULL, 5, HASTEN_EFILE, "disable_corrector"},
    {"UniPCMultistepScheduler", ",\"lower_order_final\":false", NULL, 5, HASTEN_EUSAGE, "divides by zero"},
    {"UniPCMultistepScheduler", ",\"shift_terminal\":0.1", NULL, 5, HASTEN_EFILE, "shift_terminal"},
    {"FlowMatchEulerDiscreteScheduler", ",\"prediction_type\":\"epsilon\"", NULL, 5, HASTEN_EFILE,
     "the flow"},
    {"FlowMatchEulerDiscreteScheduler", ",\"shift\":-1", NULL, 5, HASTEN_EFILE, "shift"},
    {"FlowMatchEulerDiscreteScheduler", ",\"shift_terminal\":0.1", NULL, 1, HASTEN_EUSAGE, "timestep 0"},
    {"FlowMatchEulerDiscreteScheduler", ",\"use_karras_sigmas\":true", NULL, 5, HASTEN_EFILE, "use_karras"},
    {"FlowMatchEulerDiscreteScheduler", ",\"invert_sigmas\":true", NULL, 5, HASTEN_EFILE, "invert_sigmas"},
};

START_TEST(bad_settings_are_refused_by_name)
{
    struct error e = {0};
    char text[300];
    size_t live = mem_live_blocks();
    snprintf(text, sizeof text, "{\"_class_name\":\"%s\"%s}", bad[_i].cls, bad[_i].more);
    ck_assert_msg(try_config(text, bad[_i].kind, bad[_i].steps, &e) == bad[_i].code,
                  "%s, %d steps: code %d, %s", text, bad[_i].steps, e.code, e.text);
    ck_assert_msg(strstr(e.text, bad[_i].message), "%s: '%s' does not say '%s'", text, e.text,
                  bad[_i].message);
    ck_assert_uint_eq(mem_live_blocks(), live);
}
END_TEST

START_TEST(a_class_is_needed)
{
    struct error e = {0};
    ck_assert_int_eq(try_config("{}", NULL, 5, &e), HASTEN_EFILE);
    ck_assert_ptr_nonnull(strstr(e.text, "_class_name"));
    e = (struct error){0};
    ck_assert_int_eq(try_config("[]", NULL, 5, &e), HASTEN_EFILE);
}
END_TEST

START_TEST(unknown_keys_and_nulls_are_passed_over)
{
    struct error e = {0};
    ck_assert_msg(
        try_config(
            "{\"_class_name\":\"DDIMScheduler\",\"_diffusers_version\":\"0.6\",\"skip_prk_steps\":true,"
            "\"trained_betas\":null,\"beta_end\":null}",
            NULL, 5, &e) == 0,
        "%s", e.text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sampler");
    TCase *c = tcase_create("sampler");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, every_call_equals_diffusers);
    tcase_add_test(c, numbers_are_the_steps);
    tcase_add_test(c, images_do_not_influence_each_other);
    tcase_add_test(c, allocations_fail);
    tcase_add_test(c, the_published_runs);
    tcase_add_loop_test(c, bad_settings_are_refused_by_name, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(c, a_class_is_needed);
    tcase_add_test(c, unknown_keys_and_nulls_are_passed_over);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
