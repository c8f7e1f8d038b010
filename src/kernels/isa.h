// kernels/isa.h: which instruction set the CPU kernels use, chosen once at run time.
//
// Three paths: AVX-512 (F, VL, DQ, BW), AVX2 with FMA and F16C, and generic code for anything else
// (correct, slow: it is there so that a small machine starts at all). A fourth, `amx`, is AVX-512
// with VNNI and the tiles of AMX for the products that gain by them (cpu/amx_tiles.h).
// DURE_ISA=generic|avx2|avx512|amx forces one; asking for one that the processor lacks is an Error.
// The contracts of the kernels say which results are equal in bits across the paths.
//
// A kernel written with Highway includes this header before any Highway header, compiles for EMU128
// (generic), AVX2 and AVX3 by foreach_target.h, and calls DURE_DISPATCH(Function)(arguments) where
// Highway says HWY_DYNAMIC_DISPATCH. EMU128's MulAdd is not fused: where a contract says fma,
// generic code uses std::fma (or #if !HWY_NATIVE_FMA).
#pragma once

#include <cstdint>
#include <string_view>

#ifdef HWY_HIGHWAY_INCLUDED
#error "kernels/isa.h goes before Highway's headers"
#endif
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)

namespace dure {

enum class Isa : uint8_t { kGeneric, kAvx2, kAvx512, kAmx };  // Each has what those before it have.
inline constexpr Isa kIsas[] = {Isa::kGeneric, Isa::kAvx2, Isa::kAvx512, Isa::kAmx};

std::string_view isa_name(Isa isa);  // "generic", "avx2", "avx512", "amx": the values of DURE_ISA
bool isa_available(Isa isa);         // The processor and the system can run it.
Isa isa();              // In use. The first call reads DURE_ISA, else takes the best there is.
void set_isa(Isa isa);  // For tests, between kernel calls. Checked: available.

}  // namespace dure

#define DURE_DISPATCH(function) (::dure::isa(), HWY_DYNAMIC_DISPATCH(function))
