/* What the pass that makes a RepeatChannels leaves in node->params: channel c becomes c * times .. c * times + times
 * - 1. */
#ifndef QD_OP_REPEAT_CHANNELS_H
#define QD_OP_REPEAT_CHANNELS_H

#include <stdint.h>

struct qd_repeat_channels_params {
    int64_t times;
};

#endif
