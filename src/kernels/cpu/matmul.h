// kernels/cpu/matmul.h: the one product behind linear.h and optimiser.h: C = A B, every element of
// C one fma chain over the steps.
//
// y = x w^T, dx = dy w and dw += dy^T x differ only in how A and B lie in memory; Muon's products
// in how they finish, and in that half of a symmetric C is enough. A MatMulStack is one such
// product per expert or matrix. Bodies: matmul.cc splits a stack over threads; a MatMulBlock
// function (generic, AVX2, AVX-512; of BF16 those of matmul_bf16.h) computes one rectangle of C. No
// split changes any bit: each element is one chain, whoever computes it.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/weight.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

enum class Finish : uint8_t {
  kSet,       // C = sum
  kAdd,       // C = alpha * sum + beta * D: two products and one addition after the full sum
  kContinue,  // the chain starts from what C holds
};

// A: [rows, steps] f32, B: [steps, columns] of `b_dtype`, C: [rows, columns] f32.
struct MatMul {
  int64_t rows = 0, columns = 0, steps = 0;
  const float* a = nullptr;
  // Instead of `a`: both factors are BF16 and C is summed as Arithmetic::kBf16 (arithmetic.h).
  // Where rows of A are read by row, zeros follow each up to a multiple of kBf16Block elements;
  // kReadBeyond more are readable. Finish: kSet or kContinue; not symmetric.
  const uint16_t* a_bf16 = nullptr;
  int64_t a_stride = 0;    // elements
  bool a_by_step = false;  // element (r, s) is a[s * a_stride + r], else a[r * a_stride + s]
  const char* b = nullptr;
  DType b_dtype = DType::kF32;
  int64_t b_row_bytes = 0;
  // stored row c holds column c (a weight read as w^T), else stored row s holds step s
  bool b_by_column = false;
  float* c = nullptr;
  int64_t c_stride = 0;  // elements
  Finish finish = Finish::kSet;
  // Of kAdd. D: [rows, columns], rows c_stride apart; null: C as it was.
  const float* d = nullptr;
  float alpha = 1, beta = 1;
  // C is square and comes out symmetric (A B is, and D): only what touches its upper half is
  // computed, then mirrored. Equal in bits to the whole, since chains of (r, c) and (c, r) are.
  bool symmetric = false;
};

// Where the B of each part lies: at a stride from the first, or at an address of its own.
struct BParts {
  int64_t stride_bytes = 0;
  const void* const* addresses = nullptr;
};
inline BParts parts_of(const WeightView& w) {
  return {.stride_bytes = w.stride_bytes(), .addresses = w.parts};
}

// Part e of a stack: rows (or, where `ragged_steps`, steps) [offsets[e], offsets[e+1]) of A; see
// part_of.
struct MatMulStack {
  MatMul whole;  // addresses of part 0, sizes but for the ragged one
  std::span<const int64_t> offsets;
  bool ragged_steps = false;
  BParts b_parts;               // rows ragged
  int64_t c_part_elements = 0;  // between the C of two parts (steps ragged)
};
MatMul part_of(const MatMulStack& stack, int64_t part);

constexpr int64_t kReadBeyond = 32;  // elements

// A rectangle of C.
struct Block {
  int64_t row_begin = 0, row_end = 0, column_begin = 0, column_end = 0;
};
// What a body likes: the size of its register tile, and the steps of a panel it packs at once.
struct BlockLimits {
  int64_t row_tile = 1, column_tile = 1, steps_max = 1;
};

// Runs a stack over the stream's threads; inside a loop of theirs, on the calling worker alone.
// Checked: the offsets rise from 0 to the rows (or steps) of `whole`.
void matmul_stack(const MatMulStack& stack, CpuStream& stream);

// One rectangle of C, by the instruction set in use. scratch: matmul_scratch() bytes, 64-byte
// aligned.
void matmul_block(const MatMul& m, const Block& block, void* scratch);
size_t matmul_scratch(const MatMul& m, const Block& block);
BlockLimits block_limits();

void matmul_block_generic(const MatMul& m, const Block& block, void* scratch);
size_t matmul_scratch_generic(const MatMul& m, const Block& block);

}  // namespace dure::cpu
