// Protocol buffers by hand: keys, varints, lengths. The reader passes over fields that it does not
// know and stops at the first frame that is cut or damaged.
#include "train/event_file.h"

#include <array>
#include <cstring>

namespace dure {
namespace {

// Field numbers of tensorflow's event.proto and summary.proto.
constexpr uint32_t kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;  // Event
constexpr uint32_t kValue = 1;                                                // Summary
constexpr uint32_t kTag = 1, kSimpleValue = 2;                                // Summary.Value
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

template <typename T>
void put_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}

void put_key(std::string& out, uint32_t field, WireType type) {
  put_varint(out, field << 3 | type);
}

void put_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out.append(bytes);
}

// Walks the fields of one message; `next` is false at the end and where the bytes are not a
// message.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}
  bool next() {
    if (bytes_.empty()) return false;
    const auto key = varint();
    if (!key) return false;
    field = static_cast<uint32_t>(*key >> 3);
    type = static_cast<uint32_t>(*key & 7);
    if (type == kVarint) {
      const auto value = varint();
      if (value) number = *value;
      return value.has_value();
    }
    const auto size = type == kBytes ? varint()
                                     : std::optional<uint64_t>(type == kFixed64   ? 8
                                                               : type == kFixed32 ? 4
                                                                                  : ~0ull);
    if (!size || *size > bytes_.size()) return false;
    content = bytes_.substr(0, *size);
    bytes_.remove_prefix(*size);
    return true;
  }
  template <typename T>
  T fixed() const {
    T value{};
    std::memcpy(&value, content.data(), std::min(sizeof(value), content.size()));
    return value;
  }
  uint32_t field = 0, type = 0;
  uint64_t number = 0;
  std::string_view content;

 private:
  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes_.size() && i < 10; ++i) {
      const auto byte = static_cast<uint8_t>(bytes_[i]);
      value |= static_cast<uint64_t>(byte & 127) << (7 * i);
      if (byte < 128) {
        bytes_.remove_prefix(i + 1);
        return value;
      }
    }
    return std::nullopt;
  }
  std::string_view bytes_;
};

void read_value(std::string_view bytes, EventScalars& event) {
  std::pair<std::string, float> value{"", 0};
  bool scalar = false;
  for (Fields f(bytes); f.next();) {
    if (f.field == kTag && f.type == kBytes) value.first = f.content;
    if (f.field == kSimpleValue && f.type == kFixed32) {
      value.second = f.fixed<float>();
      scalar = true;
    }
  }
  if (scalar) event.values.push_back(std::move(value));
}

EventScalars read_event(std::string_view payload) {
  EventScalars event;
  for (Fields f(payload); f.next();) {
    if (f.field == kWallTime && f.type == kFixed64) event.wall_time_s = f.fixed<double>();
    if (f.field == kStep && f.type == kVarint) event.step = static_cast<int64_t>(f.number);
    if (f.field != kSummary || f.type != kBytes) continue;
    for (Fields v(f.content); v.next();) {
      if (v.field == kValue && v.type == kBytes) read_value(v.content, event);
    }
  }
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 255];
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::string event_frame(std::string_view payload) {
  std::string out;
  put_raw(out, static_cast<uint64_t>(payload.size()));
  put_raw(out, masked_crc32c(out));
  out.append(payload);
  put_raw(out, masked_crc32c(payload));
  return out;
}

std::string event_version_payload(double wall_time_s) {
  std::string out;
  put_key(out, kWallTime, kFixed64);
  put_raw(out, wall_time_s);
  put_bytes(out, kFileVersion, "brain.Event:2");
  return out;
}

std::string event_scalars_payload(const EventScalars& event) {
  std::string summary;
  for (const auto& [tag, number] : event.values) {
    std::string value;
    put_bytes(value, kTag, tag);
    put_key(value, kSimpleValue, kFixed32);
    put_raw(value, number);
    put_bytes(summary, kValue, value);
  }
  std::string out;
  put_key(out, kWallTime, kFixed64);
  put_raw(out, event.wall_time_s);
  put_key(out, kStep, kVarint);
  put_varint(out, static_cast<uint64_t>(event.step));
  put_bytes(out, kSummary, summary);
  return out;
}

EventFileContent read_event_file(std::string_view bytes) {
  constexpr size_t kHeader = 12, kFooter = 4;
  EventFileContent content;
  size_t at = 0;
  while (bytes.size() - at >= kHeader + kFooter) {
    uint64_t length = 0;
    uint32_t length_crc = 0, payload_crc = 0;
    std::memcpy(&length, bytes.data() + at, sizeof(length));
    std::memcpy(&length_crc, bytes.data() + at + 8, sizeof(length_crc));
    if (masked_crc32c(bytes.substr(at, 8)) != length_crc ||
        length > bytes.size() - at - kHeader - kFooter)
      break;
    const std::string_view payload = bytes.substr(at + kHeader, length);
    std::memcpy(&payload_crc, payload.data() + length, sizeof(payload_crc));
    if (masked_crc32c(payload) != payload_crc) break;
    EventScalars event = read_event(payload);
    content.frames.emplace_back(static_cast<int64_t>(at), event.step);
    if (!event.values.empty()) content.events.push_back(std::move(event));
    at += kHeader + length + kFooter;
  }
  content.whole_bytes = static_cast<int64_t>(at);
  return content;
}

}  // namespace dure
