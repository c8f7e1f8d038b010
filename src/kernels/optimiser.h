// kernels/optimiser.h: weight updates over lists of tensors: AdamW, Muon, and the sum of squares
// that clipping needs.
//
// All in f32; sums of squares in double. Results depend on neither the thread count nor the
// instruction set: every output is computed in one order, with one rounding where a fused operation
// is meant. Every tensor is f32. Not here: which rule a tensor gets, who owns the moments, clipping
// (train/optimiser.h). Definitions: docs/training.md. Twin: kernels/ref/optimiser.h (a template;
// double in the golden test).
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor_view.h"

namespace dure {

struct AdamWTensor {  // All of one shape.
  TensorView weight;
  ConstTensorView gradient;
  TensorView first, second;  // moments, updated in place
  double weight_decay = 0;   // decoupled, applied first: w *= 1 - learning_rate * weight_decay
};

struct AdamWStep {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double gradient_scale = 1;  // Gradients are multiplied by it on the way in (clipping).
  int64_t step = 1;           // 1 for the first update: bias correction 1 - beta^step.
};

// The moments, then w -= lr * m^ / (sqrt(v^) + epsilon), element by element. Source: Loshchilov &
// Hutter 1711.05101, algorithm 2.
void adamw(std::span<const AdamWTensor> tensors, const AdamWStep& step, Stream& stream);

struct MuonTensor {  // One matrix [R, C], or a stack of them [E, R, C], each updated by itself.
  TensorView weight;
  ConstTensorView gradient;
  TensorView momentum;  // updated in place
  double weight_decay = 0;
};

struct MuonStep {
  double learning_rate = 0;
  double momentum = 0.95;
  double gradient_scale = 1;
  bool nesterov = true;
  int iterations = 5;
};

// M = momentum M + g; U = g + momentum M (nesterov) or M; O = orthogonalise(U);
// w = w (1 - lr wd) - lr 0.2 sqrt(max(R, C)) O. Source: Moonlight 2502.16982, section 2.2.
// workspace: muon_workspace_floats() of the largest of the shapes. The order of the tensors changes
// no bits; it is quickest with the largest matrices first and those of one shape side by side.
void muon(std::span<const MuonTensor> tensors, const MuonStep& step, TensorView workspace,
          Stream& stream);

// For matrices of `shape`, [R, C] or [E, R, C], on a stream of `workers` threads.
int64_t muon_workspace_floats(const Shape& shape, int64_t workers);

// x: [R, C] or [E, R, C]; each matrix becomes about U V^T of its SVD: x / (|x|_F + 1e-7), then
// `iterations` times x = a x + (b A + c A A) x with A = x x^T and (a, b, c) = (3.4445, -4.7750,
// 2.0315); where R > C the same of its transpose. Source: K. Jordan, Muon.
void orthogonalise(TensorView x, int iterations, TensorView workspace, Stream& stream);

// Over all elements of all tensors, in double: eight fixed lanes a chunk of 16384 elements of a
// tensor, folded pairwise, then a fixed binary tree over the chunks in order. NaN and infinity pass
// through.
double sum_of_squares(std::span<const ConstTensorView> tensors, Stream& stream);

// The same in two halves, for tensors that lie on several ranks: the chunks' sums, in order, and
// the tree over those of all tensors side by side (which it uses up). sums: [squares_chunk_count()
// of all tensors].
int64_t squares_chunk_count(int64_t elements);
void squares_by_chunk(std::span<const ConstTensorView> tensors, std::span<double> sums,
                      Stream& stream);
double sum_of_chunks(std::span<double> sums);

}  // namespace dure
