/*
 * The Open Inference Protocol, version 2 (KServe), with Triton's extensions: binary tensors, classification, statistics,
 * model configuration. What a request holds, and the parts that read it.
 */
#ifndef QD_HTTP_V2_H
#define QD_HTTP_V2_H

#include "http/infer.h"

#define QD_V2_PLATFORM "onnx_onnxv1"

/* One output that is asked for. */
struct qd_v2_output {
    const char *name;
    bool binary;
    int classification; /* how many classes, 0: the tensor itself */
};

struct qd_v2 {
    json_t *root; /* of the request, or NULL: owns the texts */
    const char *id;
    bool binary_default; /* binary_data_output */
    int n_outputs;
    struct qd_v2_output *outputs;
    int *indices; /* of the graph's outputs */
    /* The answer, once it is written: by the runner's thread where that takes long. */
    bool is_written;
    enum qd_status status;
    struct qd_error err;
    struct qd_buf out;
    int64_t json_size; /* -1: all of it is JSON */
};

/* "FP32", "UINT8", ...; never NULL. */
const char *qd_v2_datatype(enum qd_dtype dtype);

/*
 * JSON text with the arrays of numbers under inputs[i].data taken out, for a tree of them would take 16 times their
 * text: each is replaced by [k], the number of its span.
 */
struct qd_v2_span {
    const char *text; /* begins with '[' */
    size_t size;
};
struct qd_v2_text {
    struct qd_buf json;
    struct qd_v2_span *spans; /* in the arena */
    size_t n_spans, capacity;
};
enum qd_status qd_v2_text_split(const char *text, size_t size, struct qd_v2_text *ret, struct qd_error *err);
void qd_v2_text_done(struct qd_v2_text *split);

/*
 * The numbers of a span, nested in any way, as count elements: floats, or bytes (form QD_INPUT_PIXELS: whole numbers
 * from 0 to 255). QD_INVALID: not numbers, or not as many as that.
 */
enum qd_status qd_v2_read_numbers(const struct qd_v2_span *span, enum qd_input_form form, int64_t count, void *ret,
                                  struct qd_error *err);

/* Fills infer (its pictures and infer->v2) from the body. */
enum qd_status qd_v2_request_read(struct qd_infer *infer, struct qd_error *err);

#endif
