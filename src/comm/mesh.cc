// Members of each group by counting along its axes; channels behind the world's, one an axis.
#include "comm/mesh.h"

#include "base/check.h"

namespace dure {

MeshPlace place_in(const MeshShape& shape, int64_t rank) {
  DURE_CHECK(rank >= 0 && rank < shape.count(), "rank {} of {}", rank, shape.count());
  return {.data = rank / shape.expert % shape.data,
          .expert = rank % shape.expert,
          .pipeline = rank / shape.batch()};
}

int64_t rank_at(const MeshShape& shape, const MeshPlace& place) {
  return (place.pipeline * shape.data + place.data) * shape.expert + place.expert;
}

Mesh& Mesh::alone() {
  static Mesh mesh(Group::alone(), {});
  return mesh;
}

Mesh::Mesh(Group& world, const MeshShape& shape)
    : shape_(shape), place_(place_in(shape, world.rank())), world_(&world) {
  DURE_CHECK(world.size() == shape.count(), "{} ranks for a table of {}", world.size(),
             shape.count());
  std::vector<int> batch, expert, data, pipeline;
  for (int r = 0; r < world.size(); ++r) {
    const MeshPlace at = place_in(shape, r);
    const bool d = at.data == place_.data, e = at.expert == place_.expert,
               p = at.pipeline == place_.pipeline;
    if (p) batch.push_back(r);
    if (p && d) expert.push_back(r);
    if (p && e) data.push_back(r);
    if (d && e) pipeline.push_back(r);
  }
  batch_ = group_of(std::move(batch), 0);
  expert_ = group_of(std::move(expert), 1);
  data_ = group_of(std::move(data), 2);
  pipeline_ = group_of(std::move(pipeline), 3);
  batch_sums_ = beside(*batch_, 0, own_[kAxes]);
  data_sums_ = beside(*data_, 1, own_[kAxes + 1]);
  files_ = beside(*world_, 2, own_files_);
}

// members: of the world.
Group* Mesh::group_of(std::vector<int> members, int axis) {
  if (std::ssize(members) == world_->size()) return world_;
  for (int& m : members) m = world_->members()[static_cast<size_t>(m)];
  auto& group = own_[static_cast<size_t>(axis)];
  group.emplace(*world_->transport(), std::move(members), world_->channel() + 1 + axis,
                world_->limit_s());
  return &*group;
}

Group* Mesh::beside(const Group& group, int number, std::optional<Group>& out) {
  if (group.size() == 1) return &Group::alone();
  const std::span<const int> members = group.members();
  out.emplace(*world_->transport(), std::vector<int>(members.begin(), members.end()),
              world_->channel() + 1 + kAxes + number, world_->limit_s());
  return &*out;
}

Traffic Mesh::traffic() const {
  Traffic sum = world_->traffic();
  for (const auto& group : own_)
    if (group) sum += group->traffic();
  return sum;
}

void Mesh::set_place(const std::string& place) {
  world_->set_place(place);
  for (auto& group : own_)
    if (group) group->set_place(place);
}

}  // namespace dure
