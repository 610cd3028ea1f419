/* See sampler_config.h. One table says which keys there are, which classes know them and what is missing
 * means. */
#include "common/run/sampler_config.h"
#include "common/base/json.h"
#include "common/base/mem.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum {
    DDIM = 1 << SAMPLER_DDIM,
    DDPM = 1 << SAMPLER_DDPM,
    PNDM = 1 << SAMPLER_PNDM,
    EULER = 1 << SAMPLER_EULER,
    EULER_A = 1 << SAMPLER_EULER_A,
    HEUN = 1 << SAMPLER_HEUN,
    LMS = 1 << SAMPLER_LMS,
    DPM = 1 << SAMPLER_DPMPP,
    UNIPC = 1 << SAMPLER_UNIPC,
    LCM = 1 << SAMPLER_LCM,
    FLOW = 1 << SAMPLER_FLOW,
    ALL = (1 << SAMPLER_CLASSES) - 1
};

static const struct {
    const char *class_name, *short_name;
} classes[SAMPLER_CLASSES] = {
    {"DDIMScheduler", "ddim"},
    {"DDPMScheduler", "ddpm"},
    {"PNDMScheduler", "pndm"},
    {"EulerDiscreteScheduler", "euler"},
    {"EulerAncestralDiscreteScheduler", "euler-a"},
    {"HeunDiscreteScheduler", "heun"},
    {"LMSDiscreteScheduler", "lms"},
    {"DPMSolverMultistepScheduler", "dpmpp-2m"},
    {"UniPCMultistepScheduler", "unipc"},
    {"LCMScheduler", "lcm"},
    {"FlowMatchEulerDiscreteScheduler", "flow-euler"},
};

const char *sampler_class_name(enum sampler_class kind) { return classes[kind].class_name; }
const char *sampler_short_name(enum sampler_class kind) { return classes[kind].short_name; }

enum field_type { FIELD_INT, FIELD_DOUBLE, FIELD_BOOL, FIELD_WORD };

#define AT(member) .at = offsetof(struct sampler_config, member)
#define INTEGER(member, value, least, most) \
    .type = FIELD_INT, AT(member), .fallback = value, .min = least, .max = most
#define NUMBER(member, value, least, most) \
    .type = FIELD_DOUBLE, AT(member), .fallback = value, .min = least, .max = most
#define FLAG(member, value) .type = FIELD_BOOL, AT(member), .fallback = value
#define WORD(member, value, list) .type = FIELD_WORD, AT(member), .fallback = value, .words = list

/* Words are given by their index; the fallback of a word is one too. */
static const char *const schedule_words[] = {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", NULL};
static const char *const prediction_words[] = {"epsilon", "sample", "v_prediction", "flow_prediction", NULL};
static const char *const spacing_words[] = {"leading", "linspace", "trailing", NULL};
static const char *const variance_words[] = {"fixed_small", "fixed_small_log", "fixed_large",
                                             "learned",     "learned_range",   NULL};
static const char *const final_words[] = {"zero", "sigma_min", NULL};
static const char *const shift_words[] = {"exponential", "linear", NULL};
/* Those of other classes mean the default, see read_as. */
static const char *const dpm_words[] = {"midpoint", "heun", "logrho", "bh1", "bh2", NULL};
static const char *const unipc_words[] = {"bh2", "bh1", "midpoint", "heun", "logrho", NULL};
static const char *const previous_words[] = {"ratio", "list", NULL};
static const char *const sigma_words[] = {"table", "uniform", NULL};

static const struct field {
    const char *key;
    int classes;
    enum field_type type;
    size_t at;
    double fallback, min, max;
    const char *const *words;
} fields[] = {
    {"num_train_timesteps", ALL, INTEGER(train_steps, 1000, 1, 100000)},
    {"beta_start", ALL & ~FLOW & ~HEUN & ~LCM, NUMBER(beta_start, 0.0001, 0, 1)},
    {"beta_end", ALL & ~FLOW & ~HEUN & ~LCM, NUMBER(beta_end, 0.02, 0, 1)},
    {"beta_start", HEUN | LCM, NUMBER(beta_start, 0.00085, 0, 1)},
    {"beta_end", HEUN | LCM, NUMBER(beta_end, 0.012, 0, 1)},
    {"beta_schedule", ALL & ~FLOW & ~LCM, WORD(beta_schedule, BETA_LINEAR, schedule_words)},
    {"beta_schedule", LCM, WORD(beta_schedule, BETA_SCALED_LINEAR, schedule_words)},
    {"prediction_type", ALL & ~FLOW, WORD(prediction, PREDICT_EPSILON, prediction_words)},
    {"prediction_type", FLOW, WORD(prediction, PREDICT_FLOW, prediction_words)},
    {"timestep_spacing", DDIM | DDPM | PNDM | LCM, WORD(spacing, SPACING_LEADING, spacing_words)},
    {"timestep_spacing", EULER | EULER_A | HEUN | LMS | DPM | UNIPC,
     WORD(spacing, SPACING_LINSPACE, spacing_words)},
    {"steps_offset", ALL & ~FLOW, INTEGER(steps_offset, 0, 0, 1000)},
    {"set_alpha_to_one", DDIM | LCM, FLAG(alpha_to_one, 1)},
    {"set_alpha_to_one", PNDM, FLAG(alpha_to_one, 0)},
    {"clip_sample", DDIM | DDPM, FLAG(clip_sample, 1)},
    {"clip_sample", LCM | HEUN, FLAG(clip_sample, 0)},
    {"clip_sample_range", DDIM | DDPM | LCM | HEUN, NUMBER(clip_range, 1, 0, 1e9)},
    {"thresholding", DDIM | DDPM | DPM | UNIPC | LCM, FLAG(thresholding, 0)},
    {"dynamic_thresholding_ratio", DDIM | DDPM | DPM | UNIPC | LCM, NUMBER(threshold_ratio, 0.995, 0, 1)},
    {"sample_max_value", DDIM | DDPM | DPM | UNIPC | LCM, NUMBER(sample_max, 1, 1e-6, 1e9)},
    {"rescale_betas_zero_snr", DDIM | DDPM | EULER | EULER_A | DPM | UNIPC | LCM, FLAG(zero_snr, 0)},
    {"variance_type", DDPM, WORD(variance, VARIANCE_FIXED_SMALL, variance_words)},
    {"skip_prk_steps", PNDM, FLAG(skip_prk, 0)},
    {"use_karras_sigmas", EULER | HEUN | LMS | DPM | UNIPC, FLAG(karras, 0)},
    {"final_sigmas_type", EULER | DPM | UNIPC, WORD(sigma_min_final, 0, final_words)},
    {"use_flow_sigmas", DPM | UNIPC, FLAG(flow_sigmas, 0)},
    {"flow_shift", DPM | UNIPC, NUMBER(flow_shift, 1, 1e-6, 1e6)},
    {"shift", FLOW, NUMBER(shift, 1, 1e-6, 1e6)},
    {"use_dynamic_shifting", FLOW | UNIPC | DPM, FLAG(dynamic_shift, 0)},
    {"time_shift_type", FLOW | UNIPC | DPM, WORD(linear_shift, 0, shift_words)},
    {"base_shift", FLOW | UNIPC, NUMBER(base_shift, 0.5, -100, 100)},
    {"max_shift", FLOW | UNIPC, NUMBER(max_shift, 1.15, -100, 100)},
    {"base_image_seq_len", FLOW | UNIPC, INTEGER(base_seq_len, 256, 1, 1e6)},
    {"max_image_seq_len", FLOW | UNIPC, INTEGER(max_seq_len, 4096, 1, 1e6)},
    {"shift_terminal", FLOW | UNIPC, NUMBER(shift_terminal, 0, 0, 1)},
    {"solver_order", DPM | UNIPC, INTEGER(solver_order, 2, 1, 3)},
    {"solver_type", DPM, WORD(heun_solver, 0, dpm_words)},
    {"solver_type", UNIPC, WORD(bh1, 0, unipc_words)},
    {"lambda_min_clipped", DPM, NUMBER(lambda_min, -1e9, -1e9, 1e9)},
    {"sigma_min", EULER | UNIPC, NUMBER(sigma_min, 0, 1e-9, 1e9)},
    {"sigma_max", EULER | UNIPC, NUMBER(sigma_max, 0, 1e-9, 1e9)},
    {"lower_order_final", DPM | UNIPC, FLAG(lower_order_final, 1)},
    {"euler_at_final", DPM, FLAG(euler_at_final, 0)},
    {"original_inference_steps", LCM, INTEGER(original_steps, 50, 1, 100000)},
    {"timestep_scaling", LCM, NUMBER(timestep_scaling, 10, 0, 1e9)},
    {"previous_timestep", DDIM, WORD(previous_in_list, 0, previous_words)},
    {"sigma_spacing", FLOW, WORD(uniform_sigmas, 0, sigma_words)},
};

/* Keys that change what a class does and that only have these values here. */
static const struct {
    const char *key;
    int classes;
    const char *only[2]; /* words, or "true"; none: false, null, or an empty list */
} refused[] = {
    {"use_exponential_sigmas", EULER | HEUN | LMS | DPM | UNIPC | FLOW, {0}},
    {"use_beta_sigmas", EULER | HEUN | LMS | DPM | UNIPC | FLOW, {0}},
    {"use_karras_sigmas", FLOW, {0}},
    {"use_lu_lambdas", DPM, {0}},
    {"invert_sigmas", FLOW, {0}},
    {"stochastic_sampling", FLOW, {0}},
    {"disable_corrector", UNIPC, {0}},
    {"solver_p", UNIPC, {0}},
    {"predict_x0", UNIPC, {"true"}},
    {"algorithm_type", DPM, {"dpmsolver++", "deis"}}, /* diffusers takes the second for the first */
    {"interpolation_type", EULER, {"linear"}},
    {"timestep_type", EULER, {"discrete"}},
};

static int is_allowed(const char *const *only, const cJSON *v)
{
    if (!v || cJSON_IsNull(v))
        return 1;
    if (!only[0])
        return cJSON_IsFalse(v) || (cJSON_IsArray(v) && !v->child);
    if (cJSON_IsTrue(v))
        return !strcmp(only[0], "true");
    return cJSON_IsString(v) &&
           (!strcmp(v->valuestring, only[0]) || (only[1] && !strcmp(v->valuestring, only[1])));
}

static int read_word(const struct field *f, const cJSON *v, struct sampler_config *c, struct error *e)
{
    for (int i = 0; cJSON_IsString(v) && f->words[i]; i++)
        if (!strcmp(f->words[i], v->valuestring)) {
            memcpy((char *)c + f->at, &i, sizeof i);
            return 0;
        }
    return error_set(e, HASTEN_EFILE, "%s: '%s' is not supported", f->key,
                     cJSON_IsString(v) ? v->valuestring : "(not a word)");
}

static int read_field(const struct field *f, const cJSON *json, struct sampler_config *c, struct error *e)
{
    char *at = (char *)c + f->at;
    const cJSON *v = json_get(json, f->key);
    int i;
    int64_t n;
    double d;
    switch (f->type) {
    case FIELD_INT:
        if (json_int_or(json, f->key, (int64_t)f->min, (int64_t)f->max, (int64_t)f->fallback, &n, e) < 0)
            return -1;
        i = (int)n;
        memcpy(at, &i, sizeof i);
        return 0;
    case FIELD_DOUBLE:
        if (json_double_or(json, f->key, f->min, f->max, f->fallback, &d, e) < 0)
            return -1;
        memcpy(at, &d, sizeof d);
        return 0;
    case FIELD_BOOL:
        if (json_bool_or(json, f->key, f->fallback != 0, &i, e) < 0)
            return -1;
        memcpy(at, &i, sizeof i);
        return 0;
    default:
        i = (int)f->fallback;
        memcpy(at, &i, sizeof i);
        return v && !cJSON_IsNull(v) ? read_word(f, v, c, e) : 0;
    }
}

static int check_refused(const cJSON *json, enum sampler_class kind, struct error *e)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const cJSON *v = refused[i].classes & (1 << kind) ? json_get(json, refused[i].key) : NULL;
        if (!is_allowed(refused[i].only, v))
            return error_set(e, HASTEN_EFILE, "%s of %s is not supported with this value", refused[i].key,
                             classes[kind].class_name);
    }
    return 0;
}

static int read_betas(struct sampler_config *c, const cJSON *json, struct error *e)
{
    const cJSON *v = json_get(json, "trained_betas");
    size_t count;
    if (!v || cJSON_IsNull(v) || c->kind == SAMPLER_FLOW)
        return 0;
    if (json_get_doubles(json, "trained_betas", 0, 1, &c->betas, &count, e) < 0)
        return -1;
    if (count != (size_t)c->train_steps)
        return error_set(e, HASTEN_EFILE, "trained_betas has %zu numbers, num_train_timesteps is %d", count,
                         c->train_steps);
    return 0;
}

/* Class of the file: "_class_name", -1 and an error when unknown. */
static int class_of(const cJSON *json, struct error *e)
{
    const char *name;
    if (json_string(json, "_class_name", &name, e) < 0)
        return -1;
    for (int i = 0; i < SAMPLER_CLASSES; i++)
        if (!strcmp(name, classes[i].class_name))
            return i;
    return error_set(e, HASTEN_EFILE, "the sampler class '%s' is not supported", name);
}

static int is_flow(const struct sampler_config *c)
{
    return c->kind == SAMPLER_FLOW || c->prediction == PREDICT_FLOW || c->flow_sigmas;
}

/* Between the flow classes the shift has two names, and the prediction follows from the class. */
static int convert_flow(struct sampler_config *c, const struct sampler_config *from, struct error *e)
{
    if (!is_flow(from)) {
        if (c->kind == SAMPLER_FLOW)
            return error_set(e, HASTEN_EUSAGE, "flow-euler is for flow models, this one predicts noise");
        return 0;
    }
    if (c->kind != SAMPLER_FLOW && c->kind != SAMPLER_DPMPP && c->kind != SAMPLER_UNIPC)
        return error_set(e, HASTEN_EUSAGE, "a flow model can use flow-euler, dpmpp-2m, dpmpp-1 and unipc");
    c->flow_sigmas = c->kind != SAMPLER_FLOW;
    c->shift = c->flow_shift =
        from->kind == SAMPLER_FLOW ? (from->uniform_sigmas ? 1 : from->shift) : from->flow_shift;
    c->prediction = from->prediction;
    return 0;
}

static int check(const struct sampler_config *c, struct error *e)
{
    if (c->kind == SAMPLER_PNDM && c->prediction != PREDICT_EPSILON && c->prediction != PREDICT_V)
        return error_set(e, HASTEN_EFILE, "PNDM predicts epsilon or v_prediction only");
    if (c->kind == SAMPLER_EULER_A && c->prediction == PREDICT_SAMPLE)
        return error_set(e, HASTEN_EFILE, "Euler ancestral does not know the prediction type 'sample'");
    if (c->prediction == PREDICT_FLOW && c->kind != SAMPLER_FLOW && c->kind != SAMPLER_DPMPP &&
        c->kind != SAMPLER_UNIPC)
        return error_set(e, HASTEN_EFILE, "%s does not know flow_prediction", classes[c->kind].class_name);
    if (c->kind == SAMPLER_FLOW && c->prediction != PREDICT_FLOW && c->prediction != PREDICT_SAMPLE)
        return error_set(e, HASTEN_EFILE, "flow matching predicts the flow or the sample");
    if (c->flow_sigmas && c->prediction == PREDICT_EPSILON)
        return error_set(e, HASTEN_EFILE, "use_flow_sigmas with epsilon prediction is not supported");
    if (c->shift_terminal > 0 && c->kind == SAMPLER_UNIPC && !c->flow_sigmas)
        return error_set(e, HASTEN_EFILE, "shift_terminal of UniPC needs use_flow_sigmas");
    if (c->dynamic_shift && c->linear_shift && c->kind == SAMPLER_DPMPP)
        return error_set(e, HASTEN_EFILE, "DPM-Solver++ does not know the time_shift_type 'linear'");
    if (c->karras && c->flow_sigmas)
        return error_set(e, HASTEN_EFILE, "Karras sigmas of a flow model are not supported");
    return 0;
}

static int read_as(struct sampler_config *c, const cJSON *json, enum sampler_class kind, struct error *e)
{
    *c = (struct sampler_config){
        .kind = kind, .flow_shift = 1, .shift = 1, .clip_range = 1, .solver_order = 2};
    if (check_refused(json, kind, e) < 0)
        return -1;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].classes & (1 << kind) && read_field(&fields[i], json, c, e) < 0)
            return -1;
    /* Words that another class wrote mean the default here, in diffusers too. */
    c->heun_solver = c->heun_solver == 1;
    c->bh1 = c->bh1 == 1;
    return read_betas(c, json, e);
}

int sampler_config_read(struct sampler_config *c, const cJSON *json, const char *name, struct error *e)
{
    struct sampler_config own = {0};
    int kind = class_of(json, e), wanted = -1, first_order = name && !strcmp(name, "dpmpp-1");
    *c = (struct sampler_config){0};
    if (kind < 0 || read_as(&own, json, (enum sampler_class)kind, e) < 0 || (check(&own, e) < 0)) {
        sampler_config_free(&own);
        return error_under(e, "sampler");
    }
    for (int i = 0; name && i < SAMPLER_CLASSES; i++)
        if (!strcmp(first_order ? "dpmpp-2m" : name, classes[i].short_name))
            wanted = i;
    if (name && wanted < 0) {
        sampler_config_free(&own);
        return error_set(
            e, HASTEN_EUSAGE,
            "unknown sampler '%s' (known: ddim ddpm pndm euler euler-a heun lms dpmpp-1 dpmpp-2m unipc lcm "
            "flow-euler)",
            name);
    }
    int status = 0;
    if (!name || (wanted == kind && !first_order)) {
        *c = own;
        if (name && !strcmp(name, "dpmpp-2m"))
            c->solver_order = 2;
        return 0;
    }
    status = read_as(c, json, (enum sampler_class)wanted, e);
    if (status == 0)
        status = convert_flow(c, &own, e);
    if (status == 0 && wanted == SAMPLER_DPMPP)
        c->solver_order = first_order ? 1 : 2;
    if (status == 0)
        status = check(c, e);
    sampler_config_free(&own);
    if (status < 0)
        sampler_config_free(c);
    return status;
}

void sampler_config_free(struct sampler_config *c)
{
    mem_free(c->betas);
    c->betas = NULL;
}
