// kernels/peak.h: what this machine can do, measured: the denominators of every "share of the
// peak".
//
// Arithmetic: f32 fused multiply-adds, and products of 8-bit integers summed in 32 bits, from
// registers with the instruction set in use, two operations each; with AMX, products of tiles.
// Memory: arrays far larger than the caches, every thread its own stretch. Each figure is the best
// of several short runs, so that a busy moment of the machine does not pass for its limit.
#pragma once

#include "tensor/cpu_stream.h"

namespace dure {

struct MachinePeak {
  double fma_gflops_thread = 0;  // one thread, 1e9 operations/s
  double fma_gflops = 0;         // all threads of the stream at once
  double int8_gops = 0;          // all threads, 1e9 operations/s: tiles where they are in use
  double int8_vector_gops = 0;   // the same without tiles
  double bf16_gflops = 0;        // all threads, tiles of bf16; 0 where they are not in use
  double read_gbytes_s = 0;      // 1e9 bytes/s read by all threads
  // 1e9 bytes/s of a copy by all threads, read and written bytes both counted
  double copy_gbytes_s = 0;
};

// Takes about `seconds`, in equal parts, and 256 MiB of memory while it runs. Throws
// kOutOfMemory.
MachinePeak measure_peak(CpuStream& stream, double seconds);

// Reads `bytes` at `data` once with all threads, plain loads, as read_gbytes_s does.
void read_once(const void* data, int64_t bytes, CpuStream& stream);

}  // namespace dure
