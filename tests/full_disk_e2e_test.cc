// A disk that is full on one rank is every rank's error: one line that names rank, host and file;
// of the checkpoint that did not fit nothing is left, and with room again the run goes on from the
// one before, to the bits of a run that nothing stopped.
#include <algorithm>

#include "launched.h"
#include "tiny_runs.h"

namespace dure {
namespace {

class FullDisk : public TinyRuns {
 protected:
  void SetUp() override {
    if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed (openmpi-bin)";
  }

  // Its configuration as a file; the learning rate does not know the number of steps.
  Path write_config(const std::string& name) const {
    TrainConfig c = config(name);
    c.batch = {.rows = 8, .tokens = 32, .micro_rows = 1};
    c.schedule = {.warmup_steps = 0, .decay_fraction = 0};
    c.steps = 4;
    c.record = {.checkpoint_steps = 2, .checkpoint_minutes = 0};
    c.ranks.limit_s = 60;
    Json json = to_json(c);
    json["model"] = parse_json(kModel, "model");
    write_file(at(name + ".json"), json.dump(2));
    return at(name + ".json");
  }
  // Without memory that ranks share through files: a limit of files' sizes is for ours alone.
  static std::string train(int ranks, const Path& file, const std::string& before = "exec",
                           int steps = 4) {
    std::string launcher = mpirun(ranks);
    launcher.replace(launcher.find("self,vader"), 10, "self,tcp --mca btl_tcp_if_include lo");
    return fmt::format(
        "PMIX_MCA_gds=hash {} sh -c '{} \"{}\" train \"{}\" --set ranks.data={} --set steps={}'",
        launcher, before, DURE_BINARY, file.string(), ranks, steps);
  }

  static std::vector<std::string> names_in(const Path& folder) {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      out.push_back(entry.path().filename().string());
    std::ranges::sort(out);
    return out;
  }
  static void expect_one_line(const Launched& ended, const std::string& start,
                              const std::string& cause) {
    ASSERT_EQ(ended.lines(), 1) << ended.output;
    const std::string line = ended.output.substr(ended.output.find("dure: "));
    EXPECT_EQ(ended.code, 2) << ended.output;
    EXPECT_NE(line.find(start), std::string::npos) << line;
    EXPECT_NE(line.find("cannot write /"), std::string::npos) << line;
    EXPECT_NE(line.find(cause), std::string::npos) << line;
  }
  void expect_whole(const std::string& run) const {
    ASSERT_EQ(run_program_of("whole"), 0);
    for (const char* file : {"model.safetensors", "optimiser.safetensors"})
      EXPECT_TRUE(read_file(at("whole/checkpoints/step-00000004") / file) ==
                  read_file(at(run) / "checkpoints/step-00000004" / file))
          << file;
    EXPECT_EQ(losses_of("whole"), losses_of(run));
  }
  int run_program_of(const std::string& name) const {
    return end_of(fmt::format("DURE_PROGRESS=off DURE_LOG=error '{}' train '{}'", DURE_BINARY,
                              write_config(name).string()))
        .code;
  }
};

// A limit of a file's size on one of four ranks: what this rank has of the file lies beyond it.
TEST_F(FullDisk, OfOneRankIsOneLineAndLeavesNothing) {
  const Path file = write_config("limited");
  ASSERT_EQ(end_of(train(4, file, "exec", 2)).code, 0);
  const auto before = names_in(at("limited/checkpoints"));
  // The signal ignored: then the write fails, as on a disk that is full.
  const Launched ended = end_of(train(
      4, file, "if [ $OMPI_COMM_WORLD_RANK = 2 ]; then trap \"\" XFSZ; ulimit -f 16; fi; exec"));
  expect_one_line(ended, "rank 2 (", "File too large");
  EXPECT_EQ(names_in(at("limited/checkpoints")), before);
  EXPECT_EQ(latest_checkpoint(at("limited/checkpoints"))->filename(), "step-00000002");
  EXPECT_EQ(end_of(train(2, file)).code, 0);
  expect_whole("limited");
}

// A file system that has room for one checkpoint, until a file beside it goes.
TEST_F(FullDisk, OfAllRanksIsOneLineAndLeavesNothing) {
  const Path file = write_config("full");
  const Path out = at("full"), kept = at("kept");
  std::filesystem::create_directories(out);
  const std::string mounted =
      fmt::format("unshare --mount sh -c 'mount -t tmpfs -o size=32m dure {}", out.string());
  if (end_of(mounted + "'").code != 0)
    GTEST_SKIP() << "a file system cannot be mounted here: " << end_of(mounted + "'").output;
  write_file(at("script"),
             fmt::format(R"(set -e
mount -t tmpfs -o size=32m dure "{out}"
run() {{ {mpirun} "{dure}" train "{file}" --set ranks.data=2 --set steps=$1; }}
run 2
ls -A "{out}/checkpoints" > "{at}/before"
head -c $(( $(df --output=avail -B1 "{out}" | tail -1) - 300000 )) /dev/zero > "{out}/filler"
if run 4 > "{at}/said" 2>&1; then echo 0; else echo $?; fi > "{at}/code"
ls -A "{out}/checkpoints" > "{at}/after"
rm "{out}/filler"
run 4
cp -r "{out}" "{kept}"
)",
                         fmt::arg("out", out.string()), fmt::arg("at", at("").string()),
                         fmt::arg("kept", kept.string()), fmt::arg("mpirun", mpirun(2)),
                         fmt::arg("dure", DURE_BINARY), fmt::arg("file", file.string())));
  const Launched ended = end_of(fmt::format("unshare --mount sh '{}'", at("script").string()));
  ASSERT_EQ(ended.code, 0) << ended.output;
  const Launched full{.code = std::atoi(read_file(at("code")).c_str()),
                      .output = read_file(at("said"))};
  expect_one_line(full, "dure: rank ", "No space left on device");
  EXPECT_EQ(read_file(at("before")), read_file(at("after")));
  expect_whole("kept");
}

}  // namespace
}  // namespace dure
