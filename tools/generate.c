/* generate: latents and pictures from a model file. */
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/num.h"
#include "common/file/output.h"
#include "common/image/sheet.h"
#include "common/run/backend_sizes.h"
#include "tools/generate.h"

#include <malloc.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    const char *schedule, *sampler, *sampler_config, *classes, *size, *latents, *trace, *noise, *once,
        *component, *sheet, *jobs, *shard, *manifest, *branches;
    int64_t steps, count, batch;
    double guidance, eta, slo;
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
    {"latents", 0, "FILE", OPTION_OUTPUT, &o.latents, .help = "write the final latents"},
    {"trace", 0, "FILE", OPTION_OUTPUT, &o.trace, .help = "write the latents after every network call"},
    {"noise", 0, "FILE", OPTION_TEXT, &o.noise, .help = "start from these latents instead of drawing"},
    {"single-generator", 0, NULL, OPTION_FLAG, &o.single, .help = "one generator for all images, in order"},
    {"sheet", 0, "FILE", OPTION_OUTPUT, &o.sheet, .help = "write a contact sheet"},
    {"no-metadata", 0, NULL, OPTION_FLAG, &o.no_metadata, .help = "no parameters in the PNG files"},
    {"once", 0, "FILE", OPTION_TEXT, &o.once, .help = "run one component once on the inputs in FILE"},
    {"component", 0, "NAME", OPTION_TEXT, &o.component, .help = "the component for --once"},
    {"jobs", 0, "FILE", OPTION_TEXT, &o.jobs, .help = "make what the JSON lines of FILE (or -) ask for"},
    {"shard", 0, "I/N", OPTION_TEXT, &o.shard,
     .help = "make part I of N, from 0; auto: as Slurm, Kubernetes, MPI or torchrun say"},
    {"manifest", 0, "FILE", OPTION_OUTPUT, &o.manifest,
     .help = "say in FILE what was made from what (default: beside the folder)"},
    {"slo", 0, "MS", OPTION_DOUBLE, &o.slo, .min = 1e-3, .max = 1e12,
     .help = "keep to MS milliseconds an image: choose among --branches"},
    {"branches", 0, "FILE", OPTION_TEXT, &o.branches,
     .help = "JSON lines of steps, schedule, model, ms or profile, quality"},
    {"plan", 0, NULL, OPTION_FLAG, &o.plan, .help = "say what would be done, and the memory it needs"},
    {0}};

static const struct tool tool = {"generate",
                                 "MODEL",
                                 "Make pictures or latents with a model.",
                                 options,
                                 TOOL_FOLDER | TOOL_RUNS,
                                 "generate fashion.model.zst --class 0-9 --count 20 -o pictures/"};

/* A run of --count images of one recipe. */
struct job {
    struct tool_run *t;
    struct model m;
    struct recipe r;
    struct shard shard;
    struct gallery gallery;
    struct weights *weights;
    struct trajectory *trajectory;
    struct painter *painter;
    int64_t *classes;
    size_t class_count;
    int batch;
    float *latents, *trace, *noise; /* of all images where asked for; else of one batch */
    int64_t size, done, made, skipped, mine;
    int calls, directory, made_directory, to_stdout;
    struct image *pictures; /* for the sheet */
    double seconds;
    struct backend sizes; /* of --plan: it counts, nothing is loaded */
    struct backend_count counted;
    size_t held; /* bytes of packed weights */
};

/* ---- settings ---- */

static struct recipe_wish wishes(const struct tool_run *t)
{
    return (struct recipe_wish){.schedule = o.schedule,
                                .sampler = o.sampler,
                                .sampler_config = o.sampler_config,
                                .size = o.size,
                                .steps = o.steps,
                                .has_guidance = tool_given(t, "guidance"),
                                .guidance = o.guidance,
                                .eta = o.eta,
                                .single_generator = o.single,
                                .dash = "--"};
}

static int read_classes(struct job *j, struct error *e)
{
    const struct model_sampler *s = &j->m.sampler;
    if (o.classes && !s->classes)
        return error_set(e, HASTEN_EUSAGE, "--class: the model is not conditional");
    return o.classes ? num_list("--class", o.classes, 0, s->classes + (s->null_class == s->classes) - 1,
                                1 << 20, &j->classes, &j->class_count, e)
                     : 0;
}

/* Options that are for the images of one run and not for jobs or shards. */
static int check_mode(struct job *j, struct error *e)
{
    const char *whole[] = {"latents", "trace", "sheet", "noise", "single-generator", "once", "count"};
    j->shard = (struct shard){0, 1, NULL};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (tool_given(j->t, whole[i]) && (o.jobs || (o.shard && i < 6)))
            return error_set(e, HASTEN_EUSAGE, "--%s does not go with --%s", whole[i],
                             o.jobs ? "jobs" : "shard");
    const char *single[] = {"latents", "trace",    "sheet", "noise", "single-generator", "once", "jobs",
                            "steps",   "schedule", "batch", "plan"};
    for (size_t i = 0; o.slo > 0 && i < sizeof single / sizeof *single; i++)
        if (tool_given(j->t, single[i]))
            return error_set(e, HASTEN_EUSAGE, "--%s does not go with --slo", single[i]);
    if ((o.slo > 0) != (o.branches != NULL))
        return error_set(e, HASTEN_EUSAGE, "--slo and --branches go together");
    if (o.manifest && output_is_stdout(o.manifest))
        return error_set(e, HASTEN_EUSAGE, "--manifest names a file");
    if (o.jobs && !strcmp(o.jobs, "-") && (!j->t->operands || !strcmp(j->t->operand[0], "-")))
        return error_set(e, HASTEN_EUSAGE,
                         "--jobs -: standard input cannot be the model as well; name its file");
    return o.shard ? shard_parse(o.shard, tool_environment, NULL, &j->shard, e) : 0;
}

static int check_outputs(struct job *j, struct error *e)
{
    struct stat s;
    const char *out = j->t->output;
    if (o.plan) /* nothing is written */
        return 0;
    j->to_stdout = out && output_is_stdout(out);
    size_t n = out ? strlen(out) : 0;
    j->directory = out && !j->to_stdout && (o.jobs || n < 4 || strcmp(out + n - 4, ".png"));
    if (o.shard && !o.jobs && !j->directory)
        return error_set(e, HASTEN_EUSAGE, "--shard needs a folder: -o DIR");
    if (o.slo > 0 && !j->directory)
        return error_set(e, HASTEN_EUSAGE, "--slo needs a folder: -o DIR");
    if (o.jobs && j->to_stdout)
        return error_set(e, HASTEN_EUSAGE, "--jobs writes files: -o names their folder");
    if (o.jobs && !out)
        return 0;
    if (!out && !o.latents && !o.trace && !o.sheet) {
        j->to_stdout = 1;
        if (o.count > 1)
            return error_set(e, HASTEN_EUSAGE, "%lld images need a folder: -o DIR", (long long)o.count);
    }
    if (o.count > 1 && out && !j->directory)
        return error_set(e, HASTEN_EUSAGE, "%lld images need a folder, -o names one file",
                         (long long)o.count);
    if (j->directory && !(j->made_directory = mkdir(out, 0777) == 0) && errno != EEXIST)
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
    char shape[TENSOR_SHAPE_TEXT];
    int status = t ? 0 : error_set(e, HASTEN_EFILE, "%s has no tensor 'latents'", o.noise);
    if (status == 0 && (t->rank != 4 || t->shape[0] < o.count || t->shape[1] != j->m.image.channels ||
                        t->shape[2] != j->r.height || t->shape[3] != j->r.width || !dtype_is_float(t->dtype)))
        status =
            error_set(e, HASTEN_EFILE, "%s: 'latents' is %s %s, floats [%lld or more, %d, %d, %d] are needed",
                      o.noise, dtype_name(t->dtype), tensor_shape_text(t, shape), (long long)o.count,
                      j->m.image.channels, j->r.height, j->r.width);
    if (status == 0 && !(j->noise = mem_array(t->count, sizeof(float), e)))
        status = -1;
    if (status == 0)
        tensor_to_f32(t->dtype, t->data, j->noise, t->count);
    container_close(c);
    return status;
}

/* Pictures of a folder are resumed, and their manifest is kept. */
static int open_gallery(struct job *j, struct error *e)
{
    char *path = NULL;
    const char *base = j->directory ? j->t->output : o.jobs && strcmp(o.jobs, "-") ? o.jobs : NULL;
    j->gallery.no_metadata = o.no_metadata;
    if (o.plan)
        return 0;
    if (!o.manifest && base && !(path = manifest_beside(base, &j->shard, e)))
        return -1;
    if (o.manifest || path)
        j->gallery.manifest = manifest_open(o.manifest ? o.manifest : path, e);
    mem_free(path);
    return e->code ? -1 : 0;
}

static int open_run(struct job *j, const struct trajectory_watch *watch, struct error *e)
{
    j->mine = (o.count - j->shard.index + j->shard.count - 1) / j->shard.count;
    j->batch = o.batch ? (int)o.batch : o.count < 4 ? (int)o.count : 4;
    if (o.single && !o.batch)
        j->batch = (int)(o.count < 4096 ? o.count : 4096);
    j->batch = trajectory_batch(j->r.has_schedule ? &j->r.schedule : NULL, j->batch);
    if (o.single && o.count > j->batch)
        return error_set(e, HASTEN_EUSAGE, "--single-generator: %lld images do not fit into one batch of %d",
                         (long long)o.count, j->batch);
    if (j->batch > o.count)
        j->batch = (int)o.count;
    struct weights_loader loader = {model_tensor_begin, model_tensor_end, &j->m};
    j->sizes = backend_sizes(&j->t->backend, &j->counted);
    j->weights = o.plan ? weights_open(j->r.graph, &j->sizes, NULL, e)
                        : weights_open(j->r.graph, &j->t->backend, &loader, e);
    j->held = o.plan ? j->counted.bytes : 0;
    j->trajectory = j->weights ? recipe_trajectory(&j->r, j->weights, j->batch, watch, e) : NULL;
    if (!j->trajectory)
        return -1;
    j->size = trajectory_size(j->trajectory);
    j->calls = trajectory_calls(j->trajectory);
    if (o.plan)
        return 0;
    size_t kept = (size_t)(o.latents ? o.count : j->batch);
    j->latents = mem_array(kept * (size_t)j->size, sizeof(float), e);
    if (o.trace)
        j->trace = mem_array((size_t)j->calls * (size_t)o.count * (size_t)j->size, sizeof(float), e);
    if (o.sheet)
        j->pictures = mem_array((size_t)o.count, sizeof *j->pictures, e);
    if (!j->latents || (o.trace && !j->trace) || (o.sheet && !j->pictures))
        return -1;
    if (wants_pictures(j) && !(j->painter = painter_open(j->t, &j->m, j->r.height, j->r.width, e)))
        return -1;
    return 0;
}

/* ---- running ---- */

static int keep_trace(void *context, int call, const float *x, int count, struct error *e)
{
    struct job *j = context;
    (void)e;
    if (j->trace)
        memcpy(j->trace + ((int64_t)call * o.count + j->made) * j->size, x,
               (size_t)(count * j->size) * sizeof *x);
    return 0;
}

static void show_progress(void *context, int call, int calls)
{
    struct job *j = context;
    double batches = ceil((double)(j->mine - j->skipped) / j->batch);
    tool_progress(j->t, "generate", floor((double)j->made / j->batch) * calls + call, batches * calls);
}

static int label_of(const struct job *j, int64_t image)
{
    if (j->class_count)
        return (int)j->classes[(size_t)image % j->class_count];
    return j->m.sampler.classes ? (int)(image % j->m.sampler.classes) : 0;
}

static struct recipe_image image_of(const struct job *j, int64_t image)
{
    return (struct recipe_image){
        .seed = j->t->seed + (uint64_t)image, .label = label_of(j, image), .own_noise = j->noise != NULL};
}

static struct exhibit exhibit_of(const struct job *j, int64_t image, char name[32], char path[PATH_MAX])
{
    snprintf(name, 32, "%06lld.png", (long long)image);
    snprintf(path, PATH_MAX, "%s/%s", j->directory ? j->t->output : "", name);
    return (struct exhibit){path, name, &j->r, image_of(j, image)};
}

static int put_picture(struct job *j, int64_t image, const float *latent, struct error *e)
{
    struct image picture = {0};
    char name[32], path[PATH_MAX];
    struct exhibit x = exhibit_of(j, image, name, path);
    int status = painter_paint(j->painter, latent, &picture, e);
    if (!j->directory)
        x.path = j->to_stdout ? "-" : j->t->output;
    if (status == 0 && x.path)
        status = gallery_put(&j->gallery, &x, &picture, NULL, e);
    if (status == 0 && o.sheet)
        j->pictures[image] = picture;
    else
        image_free(&picture);
    return status;
}

/* Does this run make the image? Not when it is another shard's or there already; the latter only where
 * nothing but the picture is wanted and the picture's note tells all that it depends on. */
static int is_to_make(struct job *j, int64_t image, struct error *e)
{
    char name[32], path[PATH_MAX];
    if (!shard_has(&j->shard, image))
        return 0;
    if (!j->directory || o.latents || o.trace || o.sheet || o.noise || o.single)
        return 1;
    struct exhibit x = exhibit_of(j, image, name, path);
    int finished = gallery_has(&j->gallery, &x, e);
    j->skipped += finished > 0;
    return finished < 0 ? -1 : !finished;
}

/* The next images to make, at most a batch of them; j->done goes behind the last. */
static int next_batch(struct job *j, int64_t *index, struct trajectory_image *images, struct error *e)
{
    int count = 0;
    for (; j->done < o.count && count < j->batch; j->done++) {
        int make = is_to_make(j, j->done, e);
        struct recipe_image i = image_of(j, j->done);
        if (make < 0)
            return -1;
        if (!make)
            continue;
        index[count] = j->done;
        images[count++] = (struct trajectory_image){
            .seed = i.seed, .label = i.label, .noise = j->noise ? j->noise + j->done * j->size : NULL};
    }
    return count;
}

static int run_batches(struct job *j, struct error *e)
{
    struct trajectory_image *images = mem_array((size_t)j->batch, sizeof *images, e);
    int64_t *index = mem_array((size_t)j->batch, sizeof *index, e);
    int status = images && index ? 0 : -1, count = 0;
    while (status == 0 && (count = next_batch(j, index, images, e)) > 0) {
        float *latents = j->latents + (o.latents ? j->made * j->size : 0);
        status = trajectory_run(j->trajectory, images, count, latents, e);
        for (int i = 0; status == 0 && j->painter && i < count; i++)
            status = put_picture(j, index[i], latents + i * j->size, e);
        j->made += count;
    }
    tool_progress_end(j->t);
    mem_free(images);
    mem_free(index);
    return count < 0 ? -1 : status;
}

static int write_samples(const struct job *j, const char *path, const char *name, const float *data,
                         int calls, struct error *e)
{
    struct shape s = trajectory_shape(j->trajectory);
    struct tensor t = {.name = name, .dtype = DTYPE_F32, .rank = calls ? 5 : 4, .data = (void *)data};
    int64_t shape[5] = {calls, o.count, s.channels, s.height, s.width};
    memcpy(t.shape, shape + (calls ? 0 : 1), sizeof(int64_t) * (size_t)t.rank);
    cJSON *meta = json_new_object(e);
    int status = !meta || tensor_measure(&t, e) < 0 || json_add_int(meta, "steps", j->r.steps, e) < 0 ||
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

static int say(struct job *j, struct error *e)
{
    char text[512], rest[80] = "";
    size_t weights = 0;
    for (int i = 0; i < j->m.tensors; i++)
        weights += j->m.tensor[i].size;
    const char *sampler = sampler_short_name(j->r.config.kind);
    struct trajectory_passes passes = trajectory_passes(j->trajectory);
    cJSON *r = json_new_object(e);
    if (j->skipped)
        snprintf(rest, sizeof rest, ", %lld were there already", (long long)j->skipped);
    snprintf(
        text, sizeof text,
        "%lld images%s, %d steps (%d network calls), %s, guidance %g, batch %d; %.1f MiB of tensors, %.1f "
        "MiB to run\n",
        (long long)j->mine, rest, j->r.steps, j->calls, sampler, j->r.guidance, j->batch,
        (double)weights / 1048576, (double)trajectory_bytes(j->trajectory) / 1048576);
    json_add_int(r, "count", j->mine, e);
    json_add_int(r, "steps", j->r.steps, e);
    json_add_int(r, "calls", j->calls, e);
    json_add_int(r, "computed_passes", passes.computed, e);
    json_add_int(r, "served_passes", passes.served, e);
    json_add_int(r, "tried_passes", passes.tried, e);
    json_add_double(r, "seconds", j->seconds, e);
    json_add_int(r, "batch", j->batch, e);
    json_add_double(r, "guidance", j->r.guidance, e);
    json_add_string(r, "sampler", sampler, e);
    json_add_int(r, "memory", (int64_t)mem_peak(), e);
    json_add_int(r, "skipped", j->skipped, e);
    if (o.plan) {
        json_add_int(r, "weight_bytes", (int64_t)j->held, e);
        json_add_int(r, "run_bytes", (int64_t)trajectory_bytes(j->trajectory), e);
    }
    int status = e->code ? -1 : tool_report(j->t, o.plan || j->t->verbose ? text : NULL, r, j->to_stdout, e);
    cJSON_Delete(r);
    return status;
}

/* What the schedule's measured error is not of. */
static void warn_of_schedule(const struct job *j)
{
    const struct cache_schedule *s = &j->r.schedule;
    if (!j->r.has_schedule)
        return;
    if (j->r.guidance != s->guidance)
        tool_warn(j->t, "%s was made and measured at guidance %g, this is %g", o.schedule, s->guidance,
                  j->r.guidance);
    if (o.eta > 0)
        tool_warn(j->t, "%s was made and measured without noise in the steps, which --eta %g draws",
                  o.schedule, o.eta);
}

static int run_count(struct job *j, struct error *e)
{
    struct trajectory_watch watch = {.context = j, .progress = show_progress};
    struct recipe_wish w = wishes(j->t);
    if (o.trace)
        watch.latents = keep_trace;
    if (recipe_open(&j->r, &j->m, &w, e) < 0 || read_classes(j, e) < 0 || check_outputs(j, e) < 0 ||
        read_noise(j, e) < 0 || open_gallery(j, e) < 0 || open_run(j, &watch, e) < 0)
        return -1;
    warn_of_schedule(j);
    if (o.plan)
        return say(j, e);
    double start = clock_ms();
    if (run_batches(j, e) < 0)
        return -1;
    j->seconds = (clock_ms() - start) * 1e-3;
    if ((o.latents && write_samples(j, o.latents, "latents", j->latents, 0, e) < 0) ||
        (o.trace && write_samples(j, o.trace, "trace", j->trace, j->calls, e) < 0) ||
        (o.sheet && write_sheet(j, e) < 0))
        return -1;
    return say(j, e);
}

static int run_jobs(struct job *j, struct error *e)
{
    if (o.plan)
        return error_set(e, HASTEN_EUSAGE, "--plan does not go with --jobs");
    if (read_classes(j, e) < 0 || check_outputs(j, e) < 0 || open_gallery(j, e) < 0)
        return -1;
    struct jobs_options x = {.path = o.jobs,
                             .folder = j->t->output,
                             .wish = wishes(j->t),
                             .classes = j->classes,
                             .class_count = j->class_count,
                             .batch = o.batch ? (int)o.batch : 4,
                             .shard = j->shard,
                             .gallery = &j->gallery};
    return generate_jobs(j->t, &j->m, &x, e);
}

static int run_slo(struct job *j, struct error *e)
{
    if (read_classes(j, e) < 0 || check_outputs(j, e) < 0 || open_gallery(j, e) < 0)
        return -1;
    struct slo_options x = {.limit = o.slo,
                            .branches = o.branches,
                            .folder = j->t->output,
                            .wish = wishes(j->t),
                            .classes = j->classes,
                            .class_count = j->class_count,
                            .count = o.count,
                            .shard = j->shard,
                            .gallery = &j->gallery};
    return generate_slo(j->t, &j->m, &x, e);
}

static int run(struct job *j, struct error *e)
{
    const char *path = check_mode(j, e) < 0 ? NULL : tool_input(j->t, e);
    /* Tensors come and go while packed weights stay: in blocks of their own they leave no holes behind.
     * (glibc would raise the threshold to 32 MiB with the first that is freed.) */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    /* Jobs and branches may want the tensors again. */
    int again = o.jobs || o.slo > 0, plan = o.plan && !o.once && !again;
    if (!path || (plan    ? model_open_structure(&j->m, path, e)
                  : again ? model_open(&j->m, path, j->t->memory, j->t->team, e)
                          : model_open_lazy(&j->m, path, j->t->memory, j->t->team, e)) < 0)
        return -1;
    if (o.once)
        return generate_once(j->t, &j->m, o.component, o.once, e);
    if (o.component)
        return error_set(e, HASTEN_EUSAGE, "--component goes with --once");
    return o.jobs ? run_jobs(j, e) : o.slo > 0 ? run_slo(j, e) : run_count(j, e);
}

static void release(struct job *j, struct error *e)
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
    manifest_close(j->gallery.manifest, e);
    if (e->code && j->made_directory) /* unless there is something in it */
        (void)rmdir(j->t->output);
    recipe_close(&j->r);
    model_close(&j->m);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    struct job j = {.t = &t};
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&j, &e);
        release(&j, &e);
    }
    return tool_finish(&t, &e);
}
