// kernels/cpu/matmul_bf16.h: who computes rectangles of a product in BF16 (MatMul::a_bf16): vectors
// with f32 fused multiply-adds, or the tiles of AMX. Equal in every bit.
//
// Not here: how a product is cut into rectangles (matmul.cc), the order of its sums
// (kernels/arithmetic.h).
#pragma once

#include "kernels/cpu/matmul.h"

namespace dure::cpu {

struct Bf16Body {
  // As matmul_block() and matmul_scratch(). Denormals are flushed while a block runs
  // (flush_denormals.h).
  void (*block)(const MatMul& m, const Block& block, void* scratch);
  size_t (*scratch)(const MatMul& m, const Block& block);
  BlockLimits (*limits)();
};

const Bf16Body& bf16_body();      // of the instruction set in use
const Bf16Body& bf16_vectors();   // Plain code where there are neither AVX2 nor AVX-512.
const Bf16Body& bf16_amx();       // Needs Isa::kAmx.
const Bf16Body& bf16_amx_twin();  // The same on tiles in memory, for tests. Needs AVX-512.

void matmul_block_bf16_generic(const MatMul& m, const Block& block, void* scratch);

}  // namespace dure::cpu
