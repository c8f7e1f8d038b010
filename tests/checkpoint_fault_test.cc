// Checkpoints under fire: kills at any moment, cut and altered files, a full disk, a folder without
// permission.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <future>
#include <thread>

#include "base/rng.h"
#include "base/testing.h"
#include "tensor/cpu_stream.h"
#include "train/checkpoint.h"

namespace dure {
namespace {

struct FakeRun {  // Some tensors whose content follows from the step.
  std::vector<float> weights, moments;
  explicit FakeRun(int64_t count = 20000)
      : weights(static_cast<size_t>(count)), moments(static_cast<size_t>(count)) {}
  void set(int64_t step) {
    for (size_t i = 0; i < weights.size(); ++i) {
      weights[i] = static_cast<float>(step) + 0.25f * static_cast<float>(i % 7);
      moments[i] = -weights[i];
    }
  }
  std::vector<NamedTensor> model() {
    return {{"a.weight", host_view(weights.data(), {4, static_cast<int64_t>(weights.size()) / 4})}};
  }
  std::vector<NamedTensor> optimiser() {
    return {
        {"momentum.a.weight", host_view(moments.data(), {static_cast<int64_t>(moments.size())})}};
  }
  CheckpointContent content(int64_t step) {
    set(step);
    CheckpointContent out;
    out.step = step;
    out.tensors = {{"model.safetensors", model()}, {"optimiser.safetensors", optimiser()}};
    out.files = {{"config.json", "{}\n"}};
    out.state["data_position"] = Json(step * 1000);
    return out;
  }
};

void expect_holds(const Path& path, int64_t step) {
  CpuStream stream(1);
  FakeRun run, want;
  want.set(step);
  const Checkpoint checkpoint(path);
  EXPECT_EQ(checkpoint.step(), step);
  EXPECT_EQ(checkpoint.state().at("data_position").as_int(), step * 1000);
  checkpoint.load("model.safetensors", run.model(), stream);
  checkpoint.load("optimiser.safetensors", run.optimiser(), stream);
  EXPECT_EQ(run.weights, want.weights);
  EXPECT_EQ(run.moments, want.moments);
}

TEST(Checkpoint, RoundTripAndKeepLast) {
  const TemporaryFolder folder;
  FakeRun run;
  {
    CheckpointStore store(folder.path() / "c", 2);
    EXPECT_FALSE(store.latest().has_value());
    for (const int64_t step : {1, 9, 100, 120}) expect_holds(store.save(run.content(step)), step);
    store.save(run.content(120));  // The same step again replaces it.
    EXPECT_NE(
        message_of([&] { CheckpointStore second(folder.path() / "c", 2); }).find("another process"),
        std::string::npos);
  }
  const auto all = list_checkpoints(folder.path() / "c");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].first, 100);
  expect_holds(*latest_checkpoint(folder.path() / "c"), 120);
}

// A file that is written when the test says so.
void add_gated(CheckpointContent& content, const std::shared_future<void>& gate) {
  content.writers["gated.txt"] = [gate](const Path& path) {
    gate.wait();
    write_file(path, "written\n");
  };
}

TEST(Checkpoint, WrittenBesideTheCallerItIsThereWhenFinished) {
  const TemporaryFolder folder;
  FakeRun run;
  std::promise<void> open_gate;
  CheckpointStore store(folder.path() / "c", 2);
  EXPECT_FALSE(store.is_saving());
  CheckpointContent content = run.content(7);
  add_gated(content, open_gate.get_future().share());
  store.save_beside(std::move(content));
  EXPECT_TRUE(store.is_saving());
  EXPECT_FALSE(store.latest().has_value());
  open_gate.set_value();
  EXPECT_GT(store.finish(), 0);
  EXPECT_FALSE(store.is_saving());
  expect_holds(*store.latest(), 7);
}

TEST(Checkpoint, WhatFailsBesideTheCallerIsThrownToWhoFinishes) {
  const TemporaryFolder folder;
  FakeRun run;
  CheckpointStore store(folder.path() / "c", 2);
  store.save(run.content(1));
  CheckpointContent content = run.content(2);
  content.writers["bad.txt"] = [](const Path&) { fail(ErrorCode::kNoSpace, "the disk is full"); };
  store.save_beside(std::move(content));
  EXPECT_EQ(message_of([&] { store.finish(); }), "the disk is full");
  EXPECT_EQ(list_checkpoints(folder.path() / "c").size(), 1u);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "c"))
    EXPECT_FALSE(entry.path().filename().string().starts_with(".step-")) << entry.path();
  store.save_beside(run.content(3));
  store.finish();
  expect_holds(*store.latest(), 3);
}

TEST(Checkpoint, AStoreThatGoesWaitsForWhatIsBeingWritten) {
  const TemporaryFolder folder;
  FakeRun run;
  std::promise<void> open_gate;
  std::thread opener;
  {
    CheckpointStore store(folder.path() / "c", 2);
    CheckpointContent content = run.content(5);
    add_gated(content, open_gate.get_future().share());
    store.save_beside(std::move(content));
    opener = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      open_gate.set_value();
    });
  }
  opener.join();
  expect_holds(*latest_checkpoint(folder.path() / "c"), 5);
}

TEST(Checkpoint, DamageIsNamed) {
  const TemporaryFolder folder;
  FakeRun run;
  CheckpointStore store(folder.path(), 3);
  const Path good = store.save(run.content(5)), path = folder.path() / "copy";
  const auto fresh_copy = [&] {
    std::filesystem::remove_all(path);
    std::filesystem::copy(good, path);
  };
  const auto damaged = [&](const std::string& file,
                           const std::function<void(std::string&)>& damage) {
    fresh_copy();
    std::string bytes = read_file(path / file);
    damage(bytes);
    std::ofstream(path / file, std::ios::trunc) << bytes;
    ErrorCode code{};
    const std::string message = message_of([&] { Checkpoint opened(path); }, &code);
    EXPECT_EQ(code, ErrorCode::kCorrupt) << message;
    EXPECT_NE(message.find(file), std::string::npos) << message;
  };
  for (const char* file :
       {"model.safetensors", "optimiser.safetensors", "config.json", "manifest.json"}) {
    for (int part = 0; part < 5; ++part) {
      damaged(file, [&](std::string& bytes) {
        bytes.resize(bytes.size() * static_cast<size_t>(part) / 5);
      });
      damaged(file, [&](std::string& bytes) {
        bytes[(bytes.size() - 1) * static_cast<size_t>(part) / 4] ^= 1;
      });
    }
    fresh_copy();
    std::filesystem::remove(path / file);
    EXPECT_NE(message_of([&] { Checkpoint opened(path); }).find(file), std::string::npos);
  }
}

TEST(Checkpoint, OtherTensorsAreRefusedAndNothingIsCopied) {
  CpuStream stream(1);
  const TemporaryFolder folder;
  FakeRun run;
  CheckpointStore store(folder.path(), 3);
  const Checkpoint checkpoint(store.save(run.content(5)));
  FakeRun other;
  std::vector<NamedTensor> targets = other.model();
  targets.push_back({"b.weight", targets[0].view});
  EXPECT_NE(message_of([&] {
              checkpoint.load("model.safetensors", targets, stream);
            }).find("b.weight of model.safetensors is missing"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              checkpoint.load("model.safetensors", {}, stream);
            }).find("a.weight of model.safetensors is not used"),
            std::string::npos);
  targets = {{"a.weight", host_view(other.weights.data(), {20000})}};
  EXPECT_NE(
      message_of([&] { checkpoint.load("model.safetensors", targets, stream); }).find("[4, 5000]"),
      std::string::npos);
  EXPECT_EQ(other.weights, FakeRun().weights);
}

// A child saves one checkpoint after another and is killed at a random moment; what stands then is
// always whole.
TEST(Checkpoint, SurvivesKillsAtRandomMoments) {
  const TemporaryFolder folder;
  const Path place = folder.path() / "c";
  Rng rng(17);
  int64_t step = 0;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      FakeRun run;
      CheckpointStore store(place, 2);
      for (int64_t s = step + 1;; ++s) store.save(run.content(s));
    }
    ::usleep(static_cast<useconds_t>(rng.between(0, 250000)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const auto latest = latest_checkpoint(place);
    if (!latest) continue;
    const int64_t now = Checkpoint(*latest).step();
    EXPECT_GE(now, step);
    step = now;
    expect_holds(*latest, step);
  }
  EXPECT_GT(step, 0);
  CheckpointStore store(place, 2);  // Removes what the kills left.
  for (const auto& entry : std::filesystem::directory_iterator(place)) {
    EXPECT_TRUE(entry.path().filename() == ".lock" ||
                entry.path().filename().string().starts_with("step-"))
        << entry.path();
  }
}

TEST(Checkpoint, FullDiskLeavesTheOlderOne) {
  const TemporaryFolder folder;
  if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=640k") != 0) {
    std::printf("skipped: a tmpfs cannot be mounted here\n");
    return;
  }
  {
    FakeRun run;
    CheckpointStore store(folder.path() / "c", 3);
    store.save(run.content(1));  // About 160 KiB each.
    ErrorCode code{};
    std::string message = "(no error)";
    int64_t step = 2;
    for (; step < 10 && message == "(no error)"; ++step)
      message = message_of(
          [&] {
            run.content(step);
            store.save(run.content(step));
          },
          &code);
    FakeRun big(200000);
    message = message_of([&] { store.save(big.content(50)); }, &code);
    EXPECT_EQ(code, ErrorCode::kNoSpace) << message;
    EXPECT_NE(message.find("safetensors"), std::string::npos) << message;
    expect_holds(*store.latest(), Checkpoint(*store.latest()).step());
    EXPECT_LT(Checkpoint(*store.latest()).step(), 50);
    for (const auto& entry : std::filesystem::directory_iterator(store.folder())) {
      EXPECT_EQ(entry.path().filename().string().find(".tmp-"), std::string::npos) << entry.path();
    }
  }
  ::umount(folder.path().c_str());
}

TEST(Checkpoint, WithoutPermissionOneClearError) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "c");
  std::filesystem::permissions(folder.path() / "c", std::filesystem::perms::owner_read |
                                                        std::filesystem::perms::owner_exec |
                                                        std::filesystem::perms::others_read |
                                                        std::filesystem::perms::others_exec);
  std::filesystem::permissions(folder.path(), std::filesystem::perms::others_exec,
                               std::filesystem::perm_options::add);
  const pid_t child = ::fork();
  if (child == 0) {  // Root may write anywhere: become nobody.
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(3);
    ErrorCode code{};
    const std::string message =
        message_of([&] { CheckpointStore store(folder.path() / "c", 2); }, &code);
    ::_exit(code == ErrorCode::kPermission &&
                    message.find((folder.path() / "c").string()) != std::string::npos
                ? 0
                : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace dure
