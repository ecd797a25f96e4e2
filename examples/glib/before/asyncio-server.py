#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A server of asyncio that greets each peer: asyncio-server.py [PORT]
import asyncio
import sys


async def greet(reader, writer):
    writer.write(b'Hello\n')
    writer.close()


async def main(port):
    server = await asyncio.start_server(greet, port=port)
    print('Listening on port', port, flush=True)
    async with server:  # closes the socket
        await server.serve_forever()


try:
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080))
except OSError as error:
    sys.exit(str(error))
