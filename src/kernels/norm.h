// kernels/norm.h: RMSNorm over rows, and the QK-norm with rotary embedding that prepares queries
// and keys.
//
// y = x / sqrt(mean(x^2) + epsilon) * w in f32; sum of squares in 16 lanes (lane l adds elements l,
// l+16, ...), then a fixed tree. Gradients: dx is set (or added, where `write` says so); dw is
// added to: rows ascending inside chunks of 64 tokens, chunks by a binary tree, so that threads do
// not change the sum. RoPE turns pairs (j, j + H/2) by position * inverse_frequency[j] (angle in
// f32, as the reference does; sine and cosine within 1.3e-7 for angles below 6e6). H <= 512. The
// same bits on every instruction set.
#pragma once

#include "kernels/write.h"
#include "tensor/tensor_view.h"

namespace dure {

// x, y: [R, C]; w: [C]. inverse_rms: [R] =, or empty where no gradient follows. y may be x.
void rms_norm(ConstTensorView x, ConstTensorView w, double epsilon, TensorView y,
              TensorView inverse_rms, Stream& stream);
// dx: [R, C] set or added; dw: [C] +=, or empty where the weights are frozen.
void rms_norm_backward(ConstTensorView x, ConstTensorView w, ConstTensorView inverse_rms,
                       ConstTensorView dy, TensorView dx, Write write, TensorView dw,
                       Stream& stream);

// Inverse frequencies [H/2] in f32; scaled forms (llama3, YaRN) differ in these alone, and YaRN in
// `scale`, which sine and cosine are multiplied by. Empty: no rotation (NoPE).
struct RopeTable {
  ConstTensorView inverse_frequency;
  double scale = 1;
};

// x: [T, N, H] raw projection of N heads; w: [H] shared by the heads; positions: [T] i32. y: [T, N,
// H] = rope(norm(x)). inverse_rms: [T, N] =, or empty.
void head_norm_rope(ConstTensorView x, ConstTensorView w, double epsilon, RopeTable rope,
                    ConstTensorView positions, TensorView y, TensorView inverse_rms,
                    Stream& stream);
// dx: [T, N, H] =; dw: [H] +=, or empty.
void head_norm_rope_backward(ConstTensorView x, ConstTensorView w, RopeTable rope,
                             ConstTensorView positions, ConstTensorView inverse_rms,
                             ConstTensorView dy, TensorView dx, TensorView dw, Stream& stream);

// Heads without a norm. x, y: [T, N, H]: y = rope(x), a copy where the table is empty.
void head_rope(ConstTensorView x, RopeTable rope, ConstTensorView positions, TensorView y,
               Stream& stream);
// dx: [T, N, H] =.
void head_rope_backward(ConstTensorView dy, RopeTable rope, ConstTensorView positions,
                        TensorView dx, Stream& stream);

}  // namespace dure
