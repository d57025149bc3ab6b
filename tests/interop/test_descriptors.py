"""Our messages beside those of the official package, which has the same names in protobuf's default pool."""

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2

from cogment_lab.wire.generated import common_pb2
from cogment_lab.wire.generated.descriptors import FILE_DESCRIPTOR_SET
from cogment_lab.wire.pool import POOL

EQUAL_DESCRIPTORS = """
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from cogment_lab.wire.generated import common_pb2
from cogment_lab.wire.generated.descriptors import FILE_DESCRIPTOR_SET
files = descriptor_pb2.FileDescriptorSet.FromString(FILE_DESCRIPTOR_SET).file
default = descriptor_pool.Default()
for file in files:
    default.AddSerializedFile(file.SerializeToString())
theirs = message_factory.GetMessageClass(default.FindMessageTypeByName("cogmentAPI.Reward"))
ours = common_pb2.Reward
assert theirs is not ours
reward = ours(tick_id=-1, receiver_name="alice", sources=[common_pb2.RewardSource(value=1.5)])
assert theirs.FromString(reward.SerializeToString()).sources[0].value == 1.5
print(len(files))
"""

OFFICIAL_PACKAGE = """
import sys
import cogment_lab.wire as ours
from cogment_lab.wire.generated import common_pb2
sys.path.append(sys.argv[1])
import cogment.api.common_pb2 as theirs
reward = common_pb2.Reward(tick_id=-1, receiver_name="alice")
assert theirs.Reward is not common_pb2.Reward
assert theirs.Reward.FromString(reward.SerializeToString()).receiver_name == "alice"
assert ours.Context is not None
"""


def run(script, *arguments):
    """Run ``script`` in a fresh process of this Python; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_descriptors_equal_to_ours_load_into_the_default_pool():
    n_files = len(descriptor_pb2.FileDescriptorSet.FromString(FILE_DESCRIPTOR_SET).file)
    assert run(EQUAL_DESCRIPTORS).split() == [str(n_files)]


def test_our_messages_have_the_real_names_in_a_pool_of_their_own():
    assert common_pb2.Reward.DESCRIPTOR.full_name == "cogmentAPI.Reward"
    assert POOL.FindMessageTypeByName("cogmentAPI.Reward") is common_pb2.Reward.DESCRIPTOR


def test_generated_files_of_the_official_package_load_beside_ours(official_python):
    """Its metadata forbids this Python; its code can be imported."""
    (site,) = (official_python.parent.parent / "lib").glob("python3.10/site-packages")
    run(OFFICIAL_PACKAGE, site)


@pytest.mark.parametrize(
    "name", ["common", "environment", "agent", "orchestrator", "hooks", "datalog", "trial_datastore"]
)
def test_our_schema_is_wire_compatible_with_the_official_one(official_python, name):
    """Every official field has the same number, type and label in ours; so have enums and rpcs."""
    theirs = descriptor_pb2.FileDescriptorProto.FromString(_official_file(official_python, name))
    ours = descriptor_pb2.FileDescriptorProto()
    POOL.FindFileByName(f"cogment/api/{name}.proto").CopyToProto(ours)
    assert _schema(theirs) == {key: value for key, value in _schema(ours).items() if key in _schema(theirs)}


def _official_file(python, name):
    """Return the serialized descriptor of one of the official files."""
    script = (
        f"import sys, cogment.api.{name}_pb2 as file; sys.stdout.buffer.write(file.DESCRIPTOR.serialized_pb)"
    )
    return subprocess.run([str(python), "-I", "-c", script], capture_output=True, timeout=60).stdout


def _schema(file):
    """Return what goes over the wire: field numbers, types and labels, enum numbers, rpc paths."""
    found = {}

    def add(message, prefix):
        for field in message.field:
            found[f"{prefix}.{message.name}.{field.name}"] = (
                field.number,
                field.type,
                field.label,
                field.type_name,
                field.proto3_optional,
            )
        for nested in message.nested_type:
            add(nested, f"{prefix}.{message.name}")
        for enum in message.enum_type:
            found.update({f"{prefix}.{enum.name}.{value.name}": value.number for value in enum.value})

    for message in file.message_type:
        add(message, file.package)
    for enum in file.enum_type:
        found.update({f"{file.package}.{enum.name}.{value.name}": value.number for value in enum.value})
    for service in file.service:
        for rpc in service.method:
            found[f"/{file.package}.{service.name}/{rpc.name}"] = (
                rpc.input_type,
                rpc.output_type,
                rpc.client_streaming,
                rpc.server_streaming,
            )
    return found
