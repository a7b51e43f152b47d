"""Reports: notebooks over the marts, run without anybody looking and kept as pages that are complete by themselves."""
