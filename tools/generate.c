/* generate: latents and pictures from a model file. */
#include "common/base/json.h"
#include "common/base/num.h"
#include "common/file/diffusers.h"
#include "common/file/output.h"
#include "common/image/sheet.h"
#include "common/run/trajectory.h"
#include "tools/generate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static struct {
    const char *schedule, *sampler, *sampler_config, *classes, *size, *latents, *trace, *noise, *once,
        *component, *sheet;
    int64_t steps, count, batch;
    double guidance, eta;
    int single, no_metadata, plan;
} o = {.count = 1};

static const struct tool_option options[] = {
    {"schedule", 0, "FILE", OPTION_TEXT, &o.schedule, .help = "cache schedule to follow"},
    {"sampler", 0, "NAME", OPTION_TEXT, &o.sampler,
     .help = "ddim ddpm pndm euler euler-a heun lms dpmpp-1 ..."},
    {"sampler-config", 0, "FILE", OPTION_TEXT, &o.sampler_config,
     .help = "a diffusers scheduler_config.json"},
    {"steps", 0, "N", OPTION_INT, &o.steps, .min = 1, .max = 100000,
     .help = "sampling steps (default: the model's)"},
    {"guidance", 0, "W", OPTION_DOUBLE, &o.guidance, .min = -1000, .max = 1000,
     .help = "guidance (default: the model's; 1: none)"},
    {"eta", 0, "E", OPTION_DOUBLE, &o.eta, .min = 0, .max = 1, .help = "noise share of DDIM steps"},
    {"class", 0, "LIST", OPTION_TEXT, &o.classes,
     .help = "classes, repeated over the images: 207 or 0,3,5 or 0-9"},
    {"count", 'n', "N", OPTION_INT, &o.count, .min = 1, .max = 100000000, .help = "images (default 1)"},
    {"batch", 0, "B", OPTION_INT, &o.batch, .min = 1, .max = 4096,
     .help = "images at once; results do not depend on it"},
    {"size", 0, "WxH", OPTION_TEXT, &o.size, .help = "size of the latent, or of the picture with a decoder"},
    {"latents", 0, "FILE", OPTION_TEXT, &o.latents, .help = "write the final latents"},
    {"trace", 0, "FILE", OPTION_TEXT, &o.trace, .help = "write the latents after every network call"},
    {"noise", 0, "FILE", OPTION_TEXT, &o.noise, .help = "start from these latents instead of drawing"},
    {"single-generator", 0, NULL, OPTION_FLAG, &o.single, .help = "one generator for all images, in order"},
    {"sheet", 0, "FILE", OPTION_TEXT, &o.sheet, .help = "write a contact sheet"},
    {"no-metadata", 0, NULL, OPTION_FLAG, &o.no_metadata, .help = "no parameters in the PNG files"},
    {"once", 0, "FILE", OPTION_TEXT, &o.once, .help = "run one component once on the inputs in FILE"},
    {"component", 0, "NAME", OPTION_TEXT, &o.component, .help = "the component for --once"},
    {"plan", 0, NULL, OPTION_FLAG, &o.plan, .help = "say what would be done, and the memory it needs"},
    {0}};

static const struct tool tool = {"generate",
                                 "MODEL",
                                 "Make pictures or latents with a model.",
                                 options,
                                 TOOL_OUTPUT | TOOL_COMPUTES | TOOL_SEED,
                                 "generate fashion.model.zst --class 0-9 --count 20 -o pictures/"};

struct job {
    struct tool_run *t;
    struct model m;
    struct graph *g;
    struct sampler_config config;
    struct cache_schedule schedule;
    int has_schedule;
    struct weights *weights;
    struct trajectory *trajectory;
    struct painter *painter;
    int64_t *classes;
    size_t class_count;
    int steps, batch, height, width;
    double guidance;
    float *latents, *trace, *noise; /* of all images where asked for; else of one batch */
    int64_t size, done;
    int calls, directory, to_stdout;
    struct image *pictures; /* for the sheet */
    double seconds;
};

/* ---- settings ---- */

static int read_settings(struct job *j, struct error *e)
{
    const struct model_sampler *s = &j->m.sampler;
    if (!s->present && !o.sampler_config)
        return error_set(e, HASTEN_EFILE, "the model has no sampler; give one with --sampler-config");
    cJSON *own = o.sampler_config ? json_read_file(o.sampler_config, e) : NULL;
    int status = e->code ? -1 : sampler_config_read(&j->config, own ? own : s->config, o.sampler, e);
    cJSON_Delete(own);
    if (status < 0)
        return -1;
    j->steps = o.steps ? (int)o.steps : s->steps;
    j->guidance = tool_given(j->t, "guidance") ? o.guidance : s->guidance;
    if (tool_given(j->t, "guidance") && o.guidance > 1 && s->null_class < 0)
        return error_set(e, HASTEN_EUSAGE, "--guidance %g: the model has no null class", o.guidance);
    if (s->null_class < 0)
        j->guidance = 1;
    if (o.classes && !s->classes)
        return error_set(e, HASTEN_EUSAGE, "--class: the model is not conditional");
    if (o.classes && num_list("--class", o.classes, 0, s->classes + (s->null_class == s->classes) - 1,
                              1 << 20, &j->classes, &j->class_count, e) < 0)
        return -1;
    if (o.eta > 0 && j->config.kind != SAMPLER_DDIM)
        return error_set(e, HASTEN_EUSAGE, "--eta is for ddim, the sampler is %s",
                         sampler_short_name(j->config.kind));
    return 0;
}

/* The latent's size: --size is the picture's where there is a decoder. */
static int read_size(struct job *j, struct error *e)
{
    struct graph *decoder = model_component(&j->m, "decoder");
    int factor = 1;
    j->height = j->m.image.height;
    j->width = j->m.image.width;
    if (o.size && num_pair("--size", o.size, 16384, &j->width, &j->height, e) < 0)
        return -1;
    if (decoder && o.size) {
        int out = graph_find_output(decoder, "sample");
        factor = out < 0 ? 1 : decoder->node[out].shape.height / decoder->node[0].shape.height;
        if (factor < 1 || j->width % factor || j->height % factor)
            return error_set(e, HASTEN_EUSAGE, "--size must be a multiple of %d", factor);
        j->width /= factor;
        j->height /= factor;
    }
    if (graph_infer(j->g, j->height, j->width, model_find, &j->m, e) < 0)
        return o.size ? error_under(e, "--size %s", o.size) : -1;
    return 0;
}

static int read_schedule(struct job *j, struct error *e)
{
    if (!o.schedule)
        return 0;
    if (cache_schedule_read(&j->schedule, o.schedule, e) < 0)
        return -1;
    j->has_schedule = 1;
    const char *id = model_id(&j->m);
    if (id && strcmp(j->schedule.model, id))
        return error_set(e, HASTEN_EFILE, "%s was made for model %s, this is %s; run cache-schedule again",
                         o.schedule, j->schedule.model, id);
    if (strcmp(j->schedule.sampler, sampler_short_name(j->config.kind)))
        return error_set(e, HASTEN_EFILE, "%s was made for the sampler %s, this run uses %s", o.schedule,
                         j->schedule.sampler, sampler_short_name(j->config.kind));
    if (!tool_given(j->t, "steps"))
        j->steps = j->schedule.steps;
    if (!tool_given(j->t, "guidance"))
        j->guidance = j->schedule.guidance;
    return cache_schedule_bind(&j->schedule, j->g, e);
}

static int check_outputs(struct job *j, struct error *e)
{
    struct stat s;
    const char *out = j->t->output;
    if (o.plan) /* nothing is written */
        return 0;
    j->to_stdout = out && output_is_stdout(out);
    size_t n = out ? strlen(out) : 0;
    j->directory = out && !j->to_stdout && (n < 4 || strcmp(out + n - 4, ".png"));
    if (!out && !o.latents && !o.trace && !o.sheet) {
        j->to_stdout = 1;
        if (o.count > 1)
            return error_set(e, HASTEN_EUSAGE, "%lld images need a folder: -o DIR", (long long)o.count);
    }
    if (o.count > 1 && out && !j->directory)
        return error_set(e, HASTEN_EUSAGE, "%lld images need a folder, -o names one file",
                         (long long)o.count);
    if (j->directory && mkdir(out, 0777) < 0 && errno != EEXIST)
        return error_errno(e, HASTEN_EFAIL, "%s", out);
    if (j->directory && (stat(out, &s) < 0 || !S_ISDIR(s.st_mode)))
        return error_set(e, HASTEN_EFAIL, "%s is no folder", out);
    return j->to_stdout ? tool_claim_stdout(j->t, 1, e) : 0;
}

static int wants_pictures(const struct job *j) { return j->t->output || j->to_stdout || o.sheet; }

static int read_noise(struct job *j, struct error *e)
{
    struct container_options any = {.foreign = 1};
    if (!o.noise)
        return 0;
    struct container *c = container_open(o.noise, &any, e);
    const struct tensor *t = c && container_load(c, NULL, e) == 0 ? container_find(c, "latents") : NULL;
    int status = t ? 0 : error_set(e, HASTEN_EFILE, "%s has no tensor 'latents'", o.noise);
    if (status == 0 && (t->rank != 4 || t->shape[0] < o.count || t->shape[1] != j->m.image.channels ||
                        t->shape[2] != j->height || t->shape[3] != j->width || !dtype_is_float(t->dtype)))
        status = error_set(e, HASTEN_EFILE, "%s: 'latents' must be floats [>= %lld,%d,%d,%d]", o.noise,
                           (long long)o.count, j->m.image.channels, j->height, j->width);
    if (status == 0 && !(j->noise = mem_array(t->count, sizeof(float), e)))
        status = -1;
    if (status == 0)
        tensor_to_f32(t->dtype, t->data, j->noise, t->count);
    container_close(c);
    return status;
}

static int open_run(struct job *j, const struct trajectory_watch *watch, struct error *e)
{
    j->batch = o.batch ? (int)o.batch : o.count < 4 ? (int)o.count : 4;
    if (o.single && !o.batch)
        j->batch = (int)(o.count < 4096 ? o.count : 4096);
    j->batch = trajectory_batch(j->has_schedule ? &j->schedule : NULL, j->batch);
    if (o.single && o.count > j->batch)
        return error_set(e, HASTEN_EUSAGE, "--single-generator: %lld images do not fit into one batch of %d",
                         (long long)o.count, j->batch);
    if (j->batch > o.count)
        j->batch = (int)o.count;
    j->weights = weights_open(j->g, &j->t->backend, NULL, e);
    struct trajectory_options x = {.graph = j->g,
                                   .weights = j->weights,
                                   .sampler = &j->config,
                                   .model = &j->m.sampler,
                                   .run = {.steps = j->steps, .eta = o.eta},
                                   .batch = j->batch,
                                   .guidance = j->guidance,
                                   .watch = watch,
                                   .schedule = j->has_schedule ? &j->schedule : NULL,
                                   .single_generator = o.single};
    x.run.seq_len = j->height * j->width;
    j->trajectory = j->weights ? trajectory_open(&x, e) : NULL;
    if (!j->trajectory)
        return -1;
    j->size = trajectory_size(j->trajectory);
    j->calls = trajectory_calls(j->trajectory);
    size_t kept = (size_t)(o.latents ? o.count : j->batch);
    j->latents = mem_array(kept * (size_t)j->size, sizeof(float), e);
    if (o.trace)
        j->trace = mem_array((size_t)j->calls * (size_t)o.count * (size_t)j->size, sizeof(float), e);
    if (o.sheet)
        j->pictures = mem_array((size_t)o.count, sizeof *j->pictures, e);
    if (!j->latents || (o.trace && !j->trace) || (o.sheet && !j->pictures))
        return -1;
    if (wants_pictures(j) && !(j->painter = painter_open(j->t, &j->m, j->height, j->width, e)))
        return -1;
    return 0;
}

/* ---- running ---- */

static int keep_trace(void *context, int call, const float *x, int count, struct error *e)
{
    struct job *j = context;
    (void)e;
    if (j->trace)
        memcpy(j->trace + ((int64_t)call * o.count + j->done) * j->size, x,
               (size_t)(count * j->size) * sizeof *x);
    return 0;
}

static void show_progress(void *context, int call, int calls)
{
    struct job *j = context;
    double batches = ceil((double)o.count / j->batch);
    tool_progress(j->t, "generate", floor((double)j->done / j->batch) * calls + call, batches * calls);
}

static int label_of(const struct job *j, int64_t image)
{
    if (j->class_count)
        return (int)j->classes[(size_t)image % j->class_count];
    return j->m.sampler.classes ? (int)(image % j->m.sampler.classes) : 0;
}

static char *parameters_of(const struct job *j, int64_t image, struct error *e)
{
    return mem_printf(e, "seed %llu, class %d, steps %d, sampler %s, guidance %.9g, model %s%s%s",
                      (unsigned long long)(j->t->seed + (uint64_t)image), label_of(j, image), j->steps,
                      sampler_short_name(j->config.kind), j->guidance,
                      model_id(&j->m) ? model_id(&j->m) : "unknown",
                      j->has_schedule ? ", cache schedule" : "", o.eta > 0 ? ", eta" : "");
}

static int put_picture(struct job *j, int64_t image, const float *latent, struct error *e)
{
    struct image picture = {0};
    char name[4096];
    char *parameters = o.no_metadata ? NULL : parameters_of(j, image, e);
    int status = !o.no_metadata && !parameters ? -1 : painter_paint(j->painter, latent, &picture, e);
    if (j->directory)
        snprintf(name, sizeof name, "%s/%06lld.png", j->t->output, (long long)image);
    if (status == 0 && (j->directory || j->t->output || j->to_stdout))
        status = picture_write(j->directory   ? name
                               : j->to_stdout ? "-"
                                              : j->t->output,
                               &picture, parameters, e);
    mem_free(parameters);
    if (status == 0 && o.sheet)
        j->pictures[image] = picture;
    else
        image_free(&picture);
    return status;
}

static int run_batches(struct job *j, struct error *e)
{
    struct trajectory_image *images = mem_array((size_t)j->batch, sizeof *images, e);
    int status = images ? 0 : -1;
    for (j->done = 0; status == 0 && j->done < o.count;) {
        int count = o.count - j->done < j->batch ? (int)(o.count - j->done) : j->batch;
        float *latents = j->latents + (o.latents ? j->done * j->size : 0);
        for (int i = 0; i < count; i++)
            images[i] =
                (struct trajectory_image){.seed = j->t->seed + (uint64_t)(j->done + i),
                                          .label = label_of(j, j->done + i),
                                          .noise = j->noise ? j->noise + (j->done + i) * j->size : NULL};
        status = trajectory_run(j->trajectory, images, count, latents, e);
        for (int i = 0; status == 0 && j->painter && i < count; i++)
            status = put_picture(j, j->done + i, latents + i * j->size, e);
        j->done += count;
    }
    tool_progress_end(j->t);
    mem_free(images);
    return status;
}

static int write_samples(const struct job *j, const char *path, const char *name, const float *data,
                         int calls, struct error *e)
{
    struct shape s = trajectory_shape(j->trajectory);
    struct tensor t = {.name = name, .dtype = DTYPE_F32, .rank = calls ? 5 : 4, .data = (void *)data};
    int64_t shape[5] = {calls, o.count, s.channels, s.height, s.width};
    memcpy(t.shape, shape + (calls ? 0 : 1), sizeof(int64_t) * (size_t)t.rank);
    cJSON *meta = json_new_object(e);
    int status = !meta || tensor_measure(&t, e) < 0 || json_add_int(meta, "steps", j->steps, e) < 0 ||
                         (model_id(&j->m) && json_add_string(meta, "model", model_id(&j->m), e) < 0)
                     ? -1
                     : container_write(path, "samples", meta, &t, 1, NULL, NULL, j->t->team, NULL, e);
    cJSON_Delete(meta);
    return status;
}

static int write_sheet(const struct job *j, struct error *e)
{
    int columns = 1;
    while (columns * columns < o.count)
        columns++;
    struct sheet_row row = {NULL, j->pictures, (int)o.count};
    struct image out = {0};
    int status = sheet_make(&row, 1, columns, &out, e);
    if (status == 0)
        status = picture_write(o.sheet, &out, NULL, e);
    image_free(&out);
    return status;
}

static int say(const struct job *j, struct error *e)
{
    char text[512];
    size_t weights = 0;
    for (int i = 0; i < j->m.tensors; i++)
        weights += j->m.tensor[i].size;
    struct trajectory_passes passes = trajectory_passes(j->trajectory);
    cJSON *r = json_new_object(e);
    snprintf(text, sizeof text,
             "%lld images, %d steps (%d network calls), %s, guidance %g, batch %d; %.1f MiB of tensors, %.1f "
             "MiB to run\n",
             (long long)o.count, j->steps, j->calls, sampler_short_name(j->config.kind), j->guidance,
             j->batch, (double)weights / 1048576, (double)trajectory_bytes(j->trajectory) / 1048576);
    int status = !r || json_add_int(r, "count", o.count, e) < 0 ||
                         json_add_int(r, "steps", j->steps, e) < 0 ||
                         json_add_int(r, "calls", j->calls, e) < 0 ||
                         json_add_int(r, "computed_passes", passes.computed, e) < 0 ||
                         json_add_int(r, "served_passes", passes.served, e) < 0 ||
                         json_add_int(r, "tried_passes", passes.tried, e) < 0 ||
                         json_add_double(r, "seconds", j->seconds, e) < 0 ||
                         json_add_int(r, "batch", j->batch, e) < 0 ||
                         json_add_double(r, "guidance", j->guidance, e) < 0 ||
                         json_add_string(r, "sampler", sampler_short_name(j->config.kind), e) < 0 ||
                         json_add_int(r, "memory", (int64_t)mem_peak(), e) < 0
                     ? -1
                     : tool_report(j->t, o.plan || j->t->verbose ? text : NULL, r, j->to_stdout, e);
    cJSON_Delete(r);
    return status;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run(struct job *j, struct error *e)
{
    struct trajectory_watch watch = {.context = j, .progress = show_progress};
    if (o.trace)
        watch.latents = keep_trace;
    const char *path = tool_input(j->t, e);
    if (!path || model_open(&j->m, path, j->t->memory, j->t->team, e) < 0)
        return -1;
    if (o.once)
        return generate_once(j->t, &j->m, o.component, o.once, e);
    if (o.component)
        return error_set(e, HASTEN_EUSAGE, "--component goes with --once");
    j->g = model_component(&j->m, "denoiser");
    if (!j->g)
        return error_set(e, HASTEN_EFILE, "%s has no component 'denoiser'; run one with --once --component",
                         path);
    if (read_settings(j, e) < 0 || read_size(j, e) < 0 || read_schedule(j, e) < 0 ||
        check_outputs(j, e) < 0 || read_noise(j, e) < 0 || open_run(j, &watch, e) < 0)
        return -1;
    if (o.plan)
        return say(j, e);
    double start = now();
    if (run_batches(j, e) < 0)
        return -1;
    j->seconds = now() - start;
    if ((o.latents && write_samples(j, o.latents, "latents", j->latents, 0, e) < 0) ||
        (o.trace && write_samples(j, o.trace, "trace", j->trace, j->calls, e) < 0) ||
        (o.sheet && write_sheet(j, e) < 0))
        return -1;
    return say(j, e);
}

static void release(struct job *j)
{
    for (int64_t i = 0; j->pictures && i < o.count; i++)
        image_free(&j->pictures[i]);
    mem_free(j->pictures);
    mem_free(j->latents);
    mem_free(j->trace);
    mem_free(j->noise);
    mem_free(j->classes);
    painter_close(j->painter);
    trajectory_close(j->trajectory);
    weights_close(j->weights);
    if (j->has_schedule)
        cache_schedule_free(&j->schedule);
    sampler_config_free(&j->config);
    model_close(&j->m);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    struct job j = {.t = &t};
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&j, &e);
        release(&j);
    }
    return tool_finish(&t, &e);
}
