// comm/mesh.h: the ranks of a run as a table of axes, and the groups in which this rank works.
//
// Rank r = (p x data + d) x expert + e: ranks that exchange experts' rows are neighbours, stages of
// a pipeline are furthest apart. Groups of one axis meet on one channel; a group of all ranks is
// the world itself, one of this rank alone costs nothing. Not here: the table's file form and its
// check against the launcher (ranks.h), what each axis shares (docs/ranks.md, train/).
#pragma once

#include <array>
#include <optional>

#include "comm/group.h"

namespace dure {

struct MeshShape {
  int64_t data = 1, expert = 1, pipeline = 1;
  int64_t count() const { return data * expert * pipeline; }
  int64_t batch() const { return data * expert; }  // ranks that share a step's parts
};

struct MeshPlace {
  int64_t data = 0, expert = 0, pipeline = 0;
};

MeshPlace place_in(const MeshShape& shape, int64_t rank);
int64_t rank_at(const MeshShape& shape, const MeshPlace& place);

class Mesh {
 public:
  // One rank alone.
  static Mesh& alone();

  // `world`: all ranks in order, outlives it. Checked: as many as the table has.
  Mesh(Group& world, const MeshShape& shape);
  Mesh(const Mesh&) = delete;
  Mesh& operator=(const Mesh&) = delete;

  const MeshShape& shape() const { return shape_; }
  const MeshPlace& place() const { return place_; }  // of this rank

  Group& world() { return *world_; }
  // Same pipeline stage: they share a step's parts, in this order, and what all of them have.
  Group& batch() { return *batch_; }
  // Same stage and data place: they own the experts together, and exchange rows.
  Group& expert() { return *expert_; }
  // Same stage and expert place: they hold the same experts.
  Group& data() { return *data_; }
  // Same data and expert place: a stage each, in order.
  Group& pipeline() { return *pipeline_; }

  // Of all groups together.
  Traffic traffic() const;
  // What the program is at, in all groups' messages.
  void set_place(const std::string& place);

 private:
  Group* group_of(std::vector<int> members, int axis);

  MeshShape shape_;
  MeshPlace place_;
  Group* world_;
  std::array<std::optional<Group>, 4> own_;  // those that are not the world
  Group *batch_, *expert_, *data_, *pipeline_;
};

}  // namespace dure
