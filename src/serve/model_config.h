/*
 * model.json: what a model's folder says about itself. Every key is optional; an unknown one is an error with a hint.
 * labels.txt, calibration/, and evaluation/ with evaluation.tsv, are taken where they lie in the folder and model.json
 * names no others. The reference is docs/quantd-model.json.5.
 */
#ifndef QD_SERVE_MODEL_CONFIG_H
#define QD_SERVE_MODEL_CONFIG_H

#include <jansson.h>

#include "image/image.h"
#include "onnx/onnx.h"
#include "quant/profile.h"
#include "util/mem.h"

#define QD_MODEL_NAME_SIZE 128

struct qd_model_config {
    struct qd_arena arena; /* owns every text */
    char name[QD_MODEL_NAME_SIZE];
    const char *path; /* what it was loaded from: a folder or a file */
    const char *folder;
    const char *onnx_path;
    int version;
    bool names_onnx;     /* model.json says which file: there is one version */
    bool has_preprocess; /* else it is inferred from the network's input */
    struct qd_preprocess preprocess;
    bool has_crop;       /* else the crop equals the size, or the network's input */
    const char **labels; /* by class, NULL where there are none */
    size_t n_labels;
    const char *calibration_folder; /* or NULL */
    const char *method;             /* NULL: none is named */
    const struct qd_profile *profile;
    int weight_bits, activation_bits, multiplier_bits; /* 0: the profile's */
    size_t max_images;
    const char *evaluation_folder, *evaluation_labels; /* or NULL */
    double min_agreement, min_sqnr_db; /* NAN: it says nothing */
    bool gate_required;
    const char **fp32_layers; /* layers with "precision": "fp32" */
    size_t n_fp32_layers;
    struct qd_onnx_fixed *inputs; /* values of the network's inputs beside the picture */
    int n_inputs;
};

/* Whether a folder of that name in a model's folder is one of pictures, without a model.json. */
bool qd_is_usual_folder(const char *name);

/*
 * path: a model's folder (with or without model.json), or a bare .onnx file. version 0: the highest. QD_NOT_FOUND: no
 * such version. Errors name file, key, what was expected and what came. qd_model_config_done afterwards, also on failure.
 */
enum qd_status qd_model_config_load(const char *path, int version, struct qd_model_config *ret, struct qd_error *err);
void qd_model_config_done(struct qd_model_config *config);

/*
 * Completes the preprocessing from the network's input [1,c,h,w]: a missing crop or size is the input's; without any,
 * ImageNet's (shorter side 256/224 of the input, mean, std), or the bare pixels where the network takes bytes.
 * QD_INVALID where model.json and network disagree.
 */
enum qd_status qd_model_config_resolve(struct qd_model_config *config, int64_t c, int64_t h, int64_t w,
                                       bool takes_bytes, struct qd_error *err);

#define QD_PREPROCESS_TEXT_SIZE 200
/* "rgb, shorter side 256, crop 224 x 224, (pixel * 0.00392157 - [0.485, ...]) / [0.229, ...]" */
void qd_preprocess_text(const struct qd_preprocess *preprocess, char ret[QD_PREPROCESS_TEXT_SIZE]);
/* As model.json has it. NULL without memory. */
json_t *qd_preprocess_to_json(const struct qd_preprocess *preprocess);

#endif
