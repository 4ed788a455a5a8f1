"""DICOMweb: the Studies Service of PS3.18 chapter 10 as origin server, over what the spool holds (G-16).

Store (STOW-RS), Search (QIDO-RS) and Retrieve (WADO-RS). HTTP/1.1 is parsed by h11, which uses no sockets: threads that
block, as those of pynetdicom do, write to the disk, and each connection has time-outs and a certificate of its own. An
asynchronous server (uvicorn) hands the certificate of the other side to no application, and a slow header never ends.
"""
