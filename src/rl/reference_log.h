// rl/reference_log.h: log-probabilities of the model that a preference run starts from, kept in the
// run's folder.
//
// One double a response; the file is written once, whole, before the first step, and read again
// when the run goes on. It says of which data and model it is by a hash. Not here: how they are
// computed (preference_step.h).
//
// reference_logps.bin, little-endian: "DUREREF1", u64 hash of data and model, u64 count, u64 XXH64
// of the values, f64 x count.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/file.h"

namespace dure {

void write_reference_log(const Path& file, uint64_t identity, const std::vector<double>& values);

// Absent where there is no such file, or where it is torn, damaged or of other data: it is made
// again.
std::optional<std::vector<double>> read_reference_log(const Path& file, uint64_t identity,
                                                      int64_t count);

}  // namespace dure
