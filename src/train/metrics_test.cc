// The record of a run: bytes of event files, rows of metrics.jsonl, and both after kills and
// resumes.
#include "train/metrics.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>

#include "train/event_file.h"

namespace dure {
namespace {

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) out += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  return out;
}

TEST(EventFile, Crc32cKnownAnswers) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(masked_crc32c(std::string(32, '\0')),
            ((0x8a9136aau >> 15) | (0x8a9136aau << 17)) + 0xa282ead8u);
}

TEST(EventFile, BytesArePinned) {
  // 1: fixed64 1.5; 2: varint 300; 5: { 1: { 1: "a", 2: fixed32 2.0 } }
  EXPECT_EQ(hex(event_scalars_payload({.step = 300, .wall_time_s = 1.5, .values = {{"a", 2.0f}}})),
            "09000000000000f83f"
            "10ac02"
            "2a0a"
            "0a08"
            "0a0161"
            "1500000040");
  EXPECT_EQ(hex(event_version_payload(0)),
            "090000000000000000"
            "1a0d" +
                hex("brain.Event:2"));
  const std::string frame = event_frame("xyz");
  EXPECT_EQ(hex(frame.substr(0, 8)), "0300000000000000");
  EXPECT_EQ(frame.size(), 8u + 4 + 3 + 4);
}

TEST(EventFile, ReadsBackAndStopsBeforeDamage) {
  std::string bytes = event_frame(event_version_payload(1));
  for (int64_t step = 0; step < 3; ++step)
    bytes += event_frame(
        event_scalars_payload({step, 2.0, {{"train/loss", 0.5f}, {"eval/loss", 1.0f}}}));
  EXPECT_EQ(read_event_file(bytes).events.size(), 3u);
  EXPECT_EQ(read_event_file(bytes).frames.size(), 4u);
  EXPECT_EQ(read_event_file(bytes).events[2].values[1],
            (std::pair<std::string, float>{"eval/loss", 1.0f}));
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_LE(read_event_file(std::string_view(bytes).substr(0, size)).frames.size(), 3u);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    EXPECT_LE(read_event_file(damaged).frames.size(), 3u) << i;
  }
}

// Other writers' values (images, tensors) have a tag and no scalar: they are no zero on a curve.
TEST(EventFile, AValueWithoutAScalarIsNone) {
  const std::string image = std::string("\x0a\x01i\x22\x02\x08\x01", 7);   // tag "i", an image
  const std::string scalar = std::string("\x0a\x01s\x15\0\0\x80\x3f", 8);  // tag "s", 1.0f
  const auto value = [](const std::string& v) {
    return std::string("\x0a") + static_cast<char>(v.size()) + v;
  };
  const std::string summary = value(image) + value(scalar);
  const std::string event =
      std::string("\x10\x07\x2a") + static_cast<char>(summary.size()) + summary;
  const EventFileContent content = read_event_file(event_frame(event));
  ASSERT_EQ(content.events.size(), 1u);
  EXPECT_EQ(content.events[0].step, 7);
  EXPECT_EQ(content.events[0].values, (std::vector<std::pair<std::string, float>>{{"s", 1.0f}}));
}

Json row(double loss) {
  Json out = Json::object();
  out["loss"] = Json(loss);
  out["router_load_cv"] = Json::array_of(std::vector<double>{0.25, 0.5});
  out["note"] = Json("text");
  return out;
}

TEST(Metrics, WritesRowsAndCurves) {
  const TemporaryFolder folder;
  MetricsLog log(folder.path(), -1);
  log.write(1, row(2.5));
  log.write(2, row(std::nan("")));
  EXPECT_EQ(read_file(log.jsonl_path()),
            "{\"step\":1,\"loss\":2.5,\"router_load_cv\":[0.25,0.5],\"note\":\"text\"}\n"
            "{\"step\":2,\"loss\":null,\"router_load_cv\":[0.25,0.5],\"note\":\"text\"}\n");
  const EventFileContent content = read_event_file(read_file(log.events_path()));
  ASSERT_EQ(content.events.size(), 2u);
  EXPECT_EQ(content.events[0].values,
            (std::vector<std::pair<std::string, float>>{{"train/loss", 2.5f},
                                                        {"train/router_load_cv/0", 0.25f},
                                                        {"train/router_load_cv/1", 0.5f}}));
  EXPECT_EQ(content.events[1].step, 2);
}

TEST(Metrics, ResumeCutsBackToTheCheckpoint) {
  const TemporaryFolder folder;
  {
    MetricsLog log(folder.path(), -1);
    for (int64_t step = 1; step <= 9; ++step) log.write(step, row(static_cast<double>(step)));
    append_file(log.jsonl_path(),
                "{\"step\":10,\"lo");  // Killed in the middle of a line, and of a frame.
    append_file(log.events_path(), "\x30\x00\x00");
  }
  MetricsLog log(folder.path(), 6);
  log.write(7, row(70));
  const std::vector<Json> rows = read_metrics(log.jsonl_path());
  ASSERT_EQ(rows.size(), 7u);
  for (size_t i = 0; i < 7; ++i)
    EXPECT_EQ(rows[i].at("step").as_int(), static_cast<int64_t>(i) + 1);
  EXPECT_EQ(rows[6].at("loss").as_double(), 70);
  const EventFileContent content = read_event_file(read_file(log.events_path()));
  ASSERT_EQ(content.events.size(), 7u);
  EXPECT_EQ(content.events[6].values[0].second, 70.0f);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path() / "tensorboard"), {}),
            1);
  MetricsLog fresh(folder.path(), -1);
  EXPECT_TRUE(read_metrics(fresh.jsonl_path()).empty());
  EXPECT_EQ(read_event_file(read_file(fresh.events_path())).frames.size(), 1u);
}

}  // namespace
}  // namespace dure
