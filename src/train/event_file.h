// train/event_file.h: TensorBoard event files: TFRecord frames around hand-written `Event` messages
// (docs/training.md).
//
// Only what curves need: a step, a wall time, scalars with tags. Not here: which numbers are logged
// (metrics.h). A frame: u64 length, u32 masked CRC-32C of these 8 bytes, payload, u32 masked
// CRC-32C of the payload; little-endian.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"

namespace dure {

// CRC-32C (Castagnoli, reflected 0x82f63b78); "123456789" gives 0xe3069283.
uint32_t crc32c(std::string_view bytes);
// ((crc >> 15) | (crc << 17)) + 0xa282ead8: a checksum that may itself be stored in checksummed
// data.
uint32_t masked_crc32c(std::string_view bytes);

struct EventScalars {
  int64_t step = 0;
  double wall_time_s = 0;
  std::vector<std::pair<std::string, float>> values;  // tag, value
};

std::string event_frame(std::string_view payload);      // One whole frame.
std::string event_version_payload(double wall_time_s);  // First record of a file: "brain.Event:2".
std::string event_scalars_payload(const EventScalars& event);

// The scalars of a file in order; stops before the first torn or damaged frame and says where it
// begins. Messages it does not know (other writers') are skipped; `frames` counts all whole ones.
struct EventFileContent {
  std::vector<EventScalars> events;
  // byte offset and step (0 where the message has none)
  std::vector<std::pair<int64_t, int64_t>> frames;
  int64_t whole_bytes = 0;  // end of the last whole frame
};
EventFileContent read_event_file(std::string_view bytes);

}  // namespace dure
