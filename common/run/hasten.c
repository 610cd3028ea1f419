/* The public face of the library: see include/hasten.h. */
#include "hasten.h"
#include "common/run/backend_cuda.h"
#include "common/run/trajectory.h"

#include <stdio.h>
#include <string.h>

struct hasten {
    struct model m;
    struct graph *g;
    struct team *team;
    struct backend backend;
    struct weights *weights;
    struct sampler_config sampler;
    struct cache_schedule schedule;
    int scheduled;
    struct trajectory *trajectory;
    int batch;
};

static void hand_over(const struct error *from, struct hasten_error *to)
{
    if (!to)
        return;
    to->code = from->code;
    snprintf(to->text, sizeof to->text, "%s", from->text);
}

static int open_schedule(struct hasten *h, const char *path, struct error *e)
{
    if (cache_schedule_read(&h->schedule, path, e) < 0)
        return -1;
    h->scheduled = 1;
    if (strcmp(h->schedule.model, model_id(&h->m)))
        return error_set(e, HASTEN_EFILE, "%s was made for model %s, this is %s", path, h->schedule.model,
                         model_id(&h->m));
    if (strcmp(h->schedule.sampler, sampler_short_name(h->sampler.kind)))
        return error_set(e, HASTEN_EFILE, "%s was made for the sampler %s, this is %s", path,
                         h->schedule.sampler, sampler_short_name(h->sampler.kind));
    return cache_schedule_bind(&h->schedule, h->g, e);
}

static int give_way(struct backend *b, const struct error *why)
{
    (void)why;
    return backend_cuda_give_way(b);
}

static int open_backend(struct hasten *h, const struct hasten_options *o, const struct cpu_kernels *kernels,
                        struct error *e)
{
    const char *name = o->backend ? o->backend : "cpu";
    struct error why = {0};
    struct backend cuda;
    int any = !strcmp(name, "auto");
    h->backend = backend_cpu(kernels, h->team);
    if (!strcmp(name, "cpu"))
        return 0;
    if (!any && strcmp(name, "cuda") != 0)
        return error_set(e, HASTEN_EUSAGE, "backend '%s' is unknown: cpu, cuda or auto", name);
    if (backend_cuda_open(&cuda, o->plugin ? o->plugin : "hasten-cuda.so", NULL, 0, kernels, h->team, &why) <
        0)
        return any ? 0 : error_set(e, why.code, "%s", why.text);
    h->backend = cuda;
    h->backend.give_way = any ? give_way : NULL;
    return 0;
}

static int open_all(struct hasten *h, const char *path, const struct hasten_options *o, struct error *e)
{
    int level = o->cpu_level ? cpu_level_from_name(o->cpu_level) : (int)cpu_best_level();
    if (level < 0 || level > (int)cpu_best_level())
        return error_set(e, HASTEN_EUSAGE, "CPU level '%s' is unknown, or this machine does not have it",
                         o->cpu_level);
    h->team = team_open(o->threads, e);
    if (!h->team || open_backend(h, o, cpu_kernels((enum cpu_level)level), e) < 0 ||
        model_open(&h->m, path, 0, h->team, e) < 0)
        return -1;
    const struct model_sampler *s = &h->m.sampler;
    h->g = model_component(&h->m, "denoiser");
    if (!h->g || !s->present)
        return error_set(e, HASTEN_EFILE, "%s has no denoiser with a sampler", path);
    if (sampler_config_read(&h->sampler, s->config, o->sampler, e) < 0 ||
        (o->schedule && open_schedule(h, o->schedule, e) < 0))
        return -1;
    double guidance = h->scheduled ? h->schedule.guidance : s->null_class >= 0 ? s->guidance : 1;
    h->batch = o->batch > 0 ? o->batch : 4;
    h->weights = weights_open(h->g, &h->backend, NULL, e);
    struct trajectory_options t = {.graph = h->g,
                                   .weights = h->weights,
                                   .sampler = &h->sampler,
                                   .model = s,
                                   .batch = h->batch,
                                   .guidance = o->guidance != 0 ? o->guidance : guidance,
                                   .schedule = h->scheduled ? &h->schedule : NULL};
    t.run.steps = o->steps ? o->steps : h->scheduled ? h->schedule.steps : s->steps;
    t.run.seq_len = h->m.image.height * h->m.image.width;
    h->trajectory = h->weights ? trajectory_open(&t, e) : NULL;
    return h->trajectory ? 0 : -1;
}

struct hasten *hasten_open(const char *path, const struct hasten_options *options, struct hasten_error *e)
{
    static const struct hasten_options nothing;
    struct error own = {0};
    struct hasten *h = mem_array(1, sizeof *h, &own);
    if (h && open_all(h, path, options ? options : &nothing, &own) == 0)
        return h;
    hand_over(&own, e);
    hasten_close(h);
    return NULL;
}

void hasten_close(struct hasten *h)
{
    if (!h)
        return;
    trajectory_close(h->trajectory);
    weights_close(h->weights);
    cache_schedule_free(&h->schedule);
    sampler_config_free(&h->sampler);
    backend_close(&h->backend);
    model_close(&h->m);
    team_close(h->team);
    mem_free(h);
}

void hasten_shape(const struct hasten *h, int shape[3])
{
    struct shape s = trajectory_shape(h->trajectory);
    shape[0] = s.channels;
    shape[1] = s.height;
    shape[2] = s.width;
}

int hasten_classes(const struct hasten *h) { return h->m.sampler.classes; }

int hasten_generate(struct hasten *h, const uint64_t *seeds, const int *classes, int count, float *latents,
                    struct hasten_error *e)
{
    struct error own = {0};
    struct trajectory_image *images = mem_array((size_t)h->batch, sizeof *images, &own);
    int status = images ? 0 : -1, all = h->m.sampler.classes;
    for (int done = 0; status == 0 && done < count; done += h->batch) {
        int n = count - done < h->batch ? count - done : h->batch;
        for (int i = 0; i < n; i++) {
            int label = classes ? classes[done + i] : all ? (done + i) % all : 0;
            if (classes && all && (label < 0 || label > all))
                status = error_set(&own, HASTEN_EUSAGE, "class %d: the model has %d", label, all);
            images[i] = (struct trajectory_image){.seed = seeds[done + i], .label = label};
        }
        if (status == 0)
            status = trajectory_run(h->trajectory, images, n, latents + done * trajectory_size(h->trajectory),
                                    &own);
    }
    mem_free(images);
    if (status < 0)
        hand_over(&own, e);
    return status;
}

const char *hasten_version(void) { return "0.1.0"; }
