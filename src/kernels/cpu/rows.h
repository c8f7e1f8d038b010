// kernels/cpu/rows.h: operations on a run of rows, on plain pointers: what one worker does between two matrix products.
//
// Every function is the same sequence of IEEE operations on each instruction set (lanes-inl.h). The sums follow the contracts
// of kernels/norm.h, elementwise.h, cross_entropy.h and router.h; how rows are shared out lies with the callers there.
#pragma once

#include <cstdint>

namespace dure::cpu {

// x, y: [R, C]; inverse_rms: [R] or null.
void rms_norm_rows(const float* x, const float* w, float epsilon, float* y, float* inverse_rms, int64_t rows, int64_t columns);
// dx: [R, C] set, or added to where `add`; dw: [C] += rows ascending.
void rms_norm_backward_rows(const float* x, const float* w, const float* inverse_rms, const float* dy, float* dx, bool add, float* dw, int64_t rows,
                            int64_t columns);

// One token's N heads of width H. cosine, sine: [H/2] of its position, or null without rotation.
void head_norm_token(const float* x, const float* w, float epsilon, const float* cosine, const float* sine, float* y, float* inverse_rms, int64_t heads,
                     int64_t width);
void head_norm_token_backward(const float* x, const float* w, const float* cosine, const float* sine, const float* inverse_rms, const float* dy, float* dx,
                              float* dw, int64_t heads, int64_t width);
void rope_angles(const float* inverse_frequency, float position, float* cosine, float* sine, int64_t half);

void swiglu_span(const float* gate, const float* up, float limit, float* h, int64_t n);
void swiglu_backward_span(const float* gate, const float* up, float limit, const float* dh, float* dgate, float* dup, int64_t n);
void sigmoid_span(const float* x, float* y, int64_t n);

void add_span(const float* x, float* y, int64_t n);                       // y += x
void scale_span(float a, const float* x, float* y, int64_t n);            // y = a x
void scaled_add_span(float a, const float* x, float* y, int64_t n);       // y += a x: product, then addition
float dot_span(const float* a, const float* b, int64_t n);                // 16 lanes of fma, fixed tree

// A row of logits: logarithm of the sum of exponentials; entropy (natural log) where the pointer is given.
float log_sum_exp_row(const float* logits, int64_t n, float* entropy);
// In place: logits <- -coefficient * exp(logits - log_sum_exp).
void softmax_gradient_row(float* logits, int64_t n, float log_sum_exp, float coefficient);

}  // namespace dure::cpu
