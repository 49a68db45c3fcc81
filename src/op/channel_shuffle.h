/* What the pass that makes a ChannelShuffle leaves in node->params; groups divides the channels. */
#ifndef QD_OP_CHANNEL_SHUFFLE_H
#define QD_OP_CHANNEL_SHUFFLE_H

struct qd_channel_shuffle_params {
    int groups;
};

#endif
