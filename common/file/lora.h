/* LoRA files (Hu et al. 2021): low-rank changes of weights, merged into a model before it is quantized.
 *
 *     struct buf unmatched = {0};
 *     int merged = lora_merge(&m, "style.safetensors", 0.8, &unmatched, id, e);    // W += 0.8 alpha / rank *
 * B A
 *
 * Spellings: PATH.lora_A.weight and .lora_B.weight (peft; ".default" inside too), PATH.lora.down.weight and
 * .lora.up.weight (diffusers), PATH.processor.NAME_lora.down.weight (its older attention processors), and
 * lora_unet_PATH_WITH_UNDERSCORES.lora_down.weight with .alpha (kohya). A layer is found by its path with
 * everything but letters and digits as one underscore, behind one of the usual prefixes (base_model.model,
 * unet, transformer, lora_unet,
 * ...). alpha, where there is none, is the rank. A is [rank, in] or [rank, in, kh, kw], B [out, rank] or
 * [out, rank, 1, 1]. */
#ifndef HASTEN_FILE_LORA_H
#define HASTEN_FILE_LORA_H

#include "common/base/buf.h"
#include "common/file/model.h"

/* How many layers changed, or -1. A tensor of the file that nothing is done with is an error (HASTEN_EFILE)
 * that counts them; `unmatched` gets their names, one a line. The model may be half merged then. id: gets the
 * file's content id. */
int lora_merge(struct model *m, const char *path, double scale, struct buf *unmatched, char id[HASH_HEX],
               struct error *e) HASTEN_CHECKED;

#endif
