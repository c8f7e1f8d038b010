// kernels/block_codebooks.h: the fixed tables of codebook block types (docs/gguf.md). Only block
// coders include this.
#pragma once

#include <array>
#include <cstdint>

namespace dure {

// Entries of 8 elements, 2 bits each, of {8, 25, 43}: IQ2_XXS, IQ2_XS, IQ2_S.
extern const uint16_t kCodebook2_256[256];
extern const uint16_t kCodebook2_512[512];
extern const uint16_t kCodebook2_1024[1024];
// Entries of 4 elements, 3 bits each: IQ3_XXS of {4, 12, 20, 28, 36, 44, 52, 62}, IQ3_S of {1, 3,
// ..., 15}.
extern const uint16_t kCodebook3_256[256];
extern const uint16_t kCodebook3_512[512];
// Entries of 8 elements, 2 bits each, of {-1, 0, 1}: IQ1_S, IQ1_M.
extern const uint16_t kCodebook1_2048[2048];

inline constexpr std::array<float, 3> kMagnitudes2 = {8, 25, 43};
inline constexpr std::array<float, 8> kMagnitudes3 = {4, 12, 20, 28, 36, 44, 52, 62};

// The non-linear 4-bit levels of IQ4_NL and IQ4_XS, and the doubled E2M1 values of MXFP4 and NVFP4.
inline constexpr std::array<int8_t, 16> kLevels4 = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                    1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::array<int8_t, 16> kLevelsE2M1 = {0, 1,  2,  3,  4,  6,  8,  12,
                                                       0, -1, -2, -3, -4, -6, -8, -12};

// The eight sign bits of a 7-bit sign field: the eighth makes their number even.
inline constexpr uint8_t even_signs(uint32_t seven) {
  return static_cast<uint8_t>(seven | ((__builtin_popcount(seven) & 1) << 7));
}

}  // namespace dure
