// kernels/ref/attention.h: causal, windowed, grouped attention of one sequence in double: softmax(q
// k^T / sqrt(H)) v.
//
// Source: reference facts of exaone_moe, forward pass, attention 5-7: head q uses key head q * G /
// Q; key j is visible to the row at position i when j <= i and, where W > 0, i - j < W. sinks: [Q],
// more terms exp(sink) of the softmax's sum, or empty.
#pragma once

#include "kernels/attention.h"
#include "kernels/ref/doubles.h"

namespace dure::ref {

struct AttentionResult {
  Doubles out;          // [N, Q, H]
  Doubles log_sum_exp;  // [N, Q]
};

// q: [N, Q, H], rows at positions first_position + i; k, v: [M, G, H], row j at position j.
AttentionResult attention(const AttentionShape& shape, DoubleSpan q, DoubleSpan k, DoubleSpan v,
                          int64_t first_position = 0, DoubleSpan sinks = {});

struct AttentionGradients {
  Doubles dq;      // [N, Q, H]
  Doubles dk, dv;  // [M, G, H]
  Doubles dsinks;  // [Q], where there are any
};
AttentionGradients attention_backward(const AttentionShape& shape, DoubleSpan q, DoubleSpan k,
                                      DoubleSpan v, DoubleSpan dout, int64_t first_position = 0,
                                      DoubleSpan sinks = {});

}  // namespace dure::ref
