"""A machine and a container of a few bytes, as the system's files would tell of them."""

from ssl_weighting.data import memory


def limit_memory(monkeypatch, folder, limit, used=0, cached=0, free=2**40):
    """Let `ssl_weighting.data.memory` see a control group of these bytes.

    `limit` may be "max"; `free` is what the machine has.
    """
    groups, proc = folder / "cgroup", folder / "proc"
    groups.mkdir(exist_ok=True)
    (proc / "self").mkdir(parents=True, exist_ok=True)
    (proc / "self" / "cgroup").write_text("0::/\n")
    (proc / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:   {free // 1024} kB\n")
    (groups / "memory.max").write_text(f"{limit}\n")
    (groups / "memory.current").write_text(f"{used}\n")
    (groups / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    monkeypatch.setattr(memory, "CGROUPS", groups)
    monkeypatch.setattr(memory, "PROC", proc)
